"""What of the paper stands at the head of its page: eight statements, and the three figures that carry it."""

from analysis.papers.summary import Summary

SUMMARY = Summary(
    claims={
        "alpha_N (1.1)": "on ample data the loss falls as N^(−alpha_N)",
        "alpha_D (1.2)": "the loss of large models that stop early falls as D^(−alpha_D)",
        "alpha_C_min (1.3)": "the loss of the best size falls as C_min^(−alpha_C_min)",
        "alpha_N/alpha_D (4.3)": "over-fitting depends on N^(alpha_N/alpha_D) / D alone",
        "alpha_B (1.4)": "the critical batch grows as L^(−1/alpha_B)",
        "alpha_S (Table 3)": "along training the loss falls towards that of its size as S_min^(−alpha_S)",
        "N_opt exponent (Table 6)": "most of growing compute goes to the size, which grows as a power of C_min",
        "N_opt exponent, fixed batch (Fig. 14)": "at one batch for all the best size grows as a higher power of C",
    },
    figures=("fig1", "fig9", "fig14"),
)
