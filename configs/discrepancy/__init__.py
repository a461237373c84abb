"""Why Kaplan et al. (2020) found N_opt ~ C^0.73 and Hoffmann et al. (2022) C^0.5: what is trained to see each reason.

    scaling reproduce discrepancy --budget cpu-1h
    scaling study show configs/discrepancy/experiments.py --set budget=cpu-24h

After Porian et al. (2024). The experiments are four arms of the same sizes, each of which changes one thing of the one
before (experiments.py), and a control at another vocabulary. How much a budget affords is said in budgets.py.
"""
