"""What the paper's figures share: the runs of its experiments and the laws that they tell, each worked out once."""

import contextlib
import functools
import math
from collections.abc import Mapping

import numpy as np

from analysis import digits, laws, recount
from analysis.batch_size import Critical, with_minima
from analysis.findings import study_laws
from analysis.fit import fit
from analysis.fit.estimate import Fit
from analysis.fit.rows import admitted
from analysis.kaplan_path import KaplanPath
from analysis.laws.admission import DEEP, FINISHED, IN_CONTEXT, OF_ENVELOPE, WARM
from analysis.laws.law import Law
from analysis.page.canvas import Shades
from analysis.papers import evidence
from analysis.papers.claim import NotMeasurable, Undecided
from analysis.papers.kaplan import fits, runs
from analysis.papers.kaplan.left_out import (
    Left,
    batches_left_out,
    jackknife,
    paths_left_out,
    sizes_left_out,
    with_other_batches,
)
from analysis.papers.known import Known, known
from analysis.recount import Best, Count
from analysis.replicates import Noise, seed_noise
from analysis.table import Table
from scaling.errors import InputError

NO_LADDER = "no run of the ladder has finished"
SAME = ("tokens", "unique_tokens", "batch_tokens", "n_ctx", "n_vocab", "dropout", "schedule", "tokens_id")
STANDARD = 0.2  # how far d_ff / 4 d_model of a standard shape lies from 1; the grid's lie within 1/6
# S_min = S / (1 + B_crit / B): beyond this B_crit / B it says more of B_crit(L) than of the updates.
DILUTED = 3.0
NEARLY = 1 / 3  # and below this S_min is nearly S; below this B / B_crit, C_min = C / (1 + B / B_crit) is nearly C
FALLS = 0.05  # share by which S_min ends below its highest, where it cannot be what was left to do
LONG = 10.0  # warm-ups: what the updates to a loss of a batch scan are at least
NOISE = 0.003  # of ln loss between seeds, where no seeds tell: the least that our other studies have
DIFFERENCE = math.sqrt(2)  # the noise of a difference in that of one loss


class Efficient:
    """The best sizes along the learning curves that a law of compute is about.

    Attributes:
        points: of `fits.best_sizes`.
    """

    def __init__(self, law: type[Law], curves: Table):
        (self.compute,) = law.inputs
        self.law, self.curves = law, admitted(law, curves, waived=OF_ENVELOPE)
        self.points = fits.best_sizes(self.curves, self.compute)
        self._growth: dict[str, Fit[fits.Growth]] = {}

    @functools.cached_property
    def loss(self) -> Known:
        """The power law of the loss through the points."""
        if len(self.points) < fits.LEAST:
            n = len(self.points)
            raise Undecided(f"along the envelope the best size changes {n} times; wanted {fits.LEAST}")
        # The curves have met the rules. Where the best size passes from one curve to another, its loss need not fall.
        return known(study_laws.fitted(self.law, self.points, 0, waived=self.law.about))

    def growth(self, column: str) -> Fit[fits.Growth]:
        """How a column of the points grows with compute."""
        if column not in self._growth:
            self._growth[column] = fits.growth(self.points, column)
        return self._growth[column]

    @functools.cached_property
    def _without(self) -> list[dict[str, float]]:
        return paths_left_out(self.curves, self.compute)

    def half(self, column: str) -> float:
        """Half width of the interval of a column's power, by leaving out sizes; 0 where fewer than three can be."""
        powers = [each[column] for each in self._without]
        return jackknife(powers) if len(powers) > 2 else 0.0


class Evidence(evidence.Evidence):
    """The runs and laws of the paper. Where something is missing, asking for it raises Undecided, or InputError."""

    # --- runs

    def _transformers(self, name: str) -> Table:
        return transformers(self.need(name))

    @functools.cached_property
    def noise(self) -> Noise | None:
        """Seed noise, pooled over the replicated settings of all experiments whose models used their context.

        Before that seeds differ in when they begin to, which is no noise of a law.
        """
        try:
            return seed_noise(evidence.in_context(self.need(*self.experiments)))
        except Undecided:
            return None

    @property
    def sigma(self) -> float:
        """Seed noise of ln loss; NOISE where no two runs differ in their seed alone."""
        return self.noise.sigma if self.noise else NOISE

    @functools.cached_property
    def shades(self) -> Shades:
        """One colour for each N in all figures."""
        return Shades.of(transformers(self.need(*self.experiments)))

    @functools.cached_property
    def every_branch(self) -> Table:
        """The finished branches of the main grid."""
        return self._transformers("grid")

    @functools.cached_property
    def grid(self) -> Table:
        """Those of them whose model used its context before they ended."""
        return evidence.in_context(self.every_branch)

    def admitted(self) -> str:
        """How many branches of the grid are admitted to the laws, and which are not."""
        every, n = self.every_branch, len(self.grid)
        out = every.where(~np.isin(every["run"], self.grid["run"]), "admitted")
        if not len(out):
            return f"All {n} branches of the grid ended after the onset of context use."
        N, D = (digits.short(float(out[name].max())) for name in ("params", "tokens"))
        return (
            f"{len(out)} of {len(every)} branches of the grid, up to N = {N} and {D} tokens, ended before their model "
            "used its context: they are in no law."
        )

    @functools.cached_property
    def length(self) -> float:
        """The most tokens after which every admitted size of the grid has a branch."""
        grid = self.grid
        shared = set.intersection(*(set(grid["tokens"][grid["params"] == N]) for N in np.unique(grid["params"])))
        if not shared:
            raise Undecided("no length of the grid is that of all its sizes")
        return max(shared)

    def branches(self, tokens: float) -> Table:
        """The admitted branches of the grid of one length, `loss_half` that of the same trunk's of half the length.

        Both have decayed, so that their ratio is what a doubling of the tokens is worth.
        """
        grid = self.grid
        table = grid.where(grid["tokens"] == tokens, "another length")
        short = grid.where(2 * grid["tokens"] == tokens, "another length")
        half = {(N, seed): loss for N, seed, loss in zip(short["params"], short["seed"], short["loss"], strict=True)}
        keys = zip(table["params"], table["seed"], strict=True)
        return table.with_columns(loss_half=np.array([half.get(key, math.nan) for key in keys]))

    @functools.cached_property
    def size_runs(self) -> Table:
        """The branches of the longest length that all sizes share."""
        return self.branches(self.length)

    @functools.cached_property
    def every_data_run(self) -> Table:
        """The finished runs of the experiment data, of any dropout."""
        return self._transformers("data")

    @functools.cached_property
    def data_runs(self) -> Table:
        """Each size on each number of unique tokens, stopped early: a run for each trunk over epochs."""
        table = self.every_data_run
        if "dropout" in table:
            table = table.where(table["dropout"] == evidence.mode(table["dropout"]), "another dropout")
        return runs.stopped(table, DIFFERENCE * self.sigma)

    @functools.cached_property
    def steps_runs(self) -> Table:
        return self._transformers("steps")

    def curves(self, name: str) -> Table:
        """The learning curves of the finished Transformers of an experiment, past their warm-up and while finite."""
        if name not in self.experiments or not len(self.experiments[name].curves):
            raise Undecided(f"no run of the experiment {name} has finished")
        table = transformers(FINISHED.admit(self.experiments[name].curves))
        table = WARM.admit(table.where(np.isfinite(table["loss"]), "no loss there"))
        if not len(table):
            raise Undecided(f"no run of the experiment {name} has finished")
        return table

    @functools.cached_property
    def grid_curves(self) -> Table:
        """The learning curves of the grid's trunks at their constant rate, each update once."""
        return runs.constant_part(self.grid, self.curves_of(self.grid))

    @functools.cached_property
    def batch_curves(self) -> Table:
        """Those of the experiment batch, where the warm-up is a small part of the updates."""
        table = self.curves("batch")
        return table.where(table["step"] >= LONG * table["warmup"] * table["steps"], "soon after the warm-up")

    @functools.cached_property
    def ladder(self) -> Table:
        """Data-ample Transformers of all depths, 0 and 1 layers among them, at one length, the depths' own.

        Those of the grid, and those of the experiment depth, which were trained alike.
        """
        table = runs.of_kind(self.need("grid", "depth"), "transformer")
        tokens = evidence.mode(self.need("depth")["tokens"]) if "depth" in self.experiments else self.length
        table = table.where(table["tokens"] == tokens, "another length")
        if "onset" in table:  # without layers there is no context to use
            begun = IN_CONTEXT.rule(table)
            table = table.where(begun.keep | (table["n_layer"] < 1), begun.reason)
        if not len(table):
            raise Undecided(NO_LADDER)
        return table

    def transformers_like(self, like: Table, layers: float | None = None) -> Table:
        """Transformers, of any experiment, that were trained as most runs of `like` were; one depth at each width.

        That is on the same tokens, for as long, with the same batch, context and schedule. Where several learning rates
        were tried, the best one.

        Args:
            layers: of this depth alone; without it, the `line` of models of two layers or more.
        """
        table = runs.of_kind(self.need(*self.experiments), "transformer")
        keep = table["n_layer"] == layers if layers else table["n_layer"] >= 2
        for name in SAME:
            if name in like and name in table:
                keep &= table[name] == evidence.mode(like[name])
        if table.has("d_ff"):  # the standard shape alone: what odd shapes cost is another question
            keep &= np.abs(table["d_ff"] / (4 * table["d_model"]) - 1) < STANDARD
        if not keep.any():
            raise Undecided("no Transformer was trained on the same tokens for as long")
        return runs.line(runs.best_rates(table.where(keep, "trained otherwise")))

    # --- laws

    @functools.cached_property
    def size(self) -> Known:
        """L(N) of the grid at one length: ample data, two layers or more; eq. 1.1."""
        return fits.of_size(self.size_runs)

    @functools.cached_property
    def data(self) -> Known:
        """L(D) of the experiment data: the best size for each number of unique tokens, stopped early; eq. 1.2."""
        return known(study_laws.law_of_data(self.data_runs, 0))

    @functools.cached_property
    def joint(self) -> Known:
        """L(N, D) of the experiment data; eq. 1.5."""
        return fits.of_size_and_data(self.data_runs)

    @functools.cached_property
    def excesses(self) -> Table:
        """What the runs of L(N, D) lose to their size on the most data, as `fits.excesses` has it."""
        return fits.excesses(self.joint.table)

    @functools.cached_property
    def _scans(self) -> tuple[Known, Critical]:
        return fits.of_scans(self.batch_curves, self.onset_losses)

    @property
    def batch(self) -> Known:
        """B_crit(L) of the experiment batch past the warm-up; eq. 1.4."""
        return self._scans[0]

    @property
    def tradeoffs(self) -> Critical:
        """What B_crit(L) comes from."""
        return self._scans[1]

    @functools.cached_property
    def batches_left_out(self) -> Left:
        return batches_left_out(self.batch_curves, self.batch.fit, self.onset_losses)

    @functools.cached_property
    def onset_losses(self) -> Mapping[float, float]:
        """By N of the experiment batch the loss, in the median over the runs, at which models begin to use their
        context; -inf where they do not, inf where they do before the curve begins. Empty where the runs do not say.
        """
        table, curves = self.need("batch"), self.batch_curves
        found: dict[float, list[float]] = {}
        if "onset" not in table:
            return {}
        for run, N, when in zip(*(table[name] for name in ("run", "params", "onset")), strict=True):
            own = np.flatnonzero(curves["run"] == run)
            own = own[np.argsort(curves["tokens"][own])]
            if len(own):
                at, loss = np.log(curves["tokens"][own]), curves["loss"][own]
                there = float(np.interp(np.log(when), at, loss, left=np.inf)) if math.isfinite(when) else -math.inf
                found.setdefault(float(N), []).append(there)
        return {N: float(np.median(losses)) for N, losses in sorted(found.items())}

    @functools.cached_property
    def scanned_curves(self) -> Table:
        """Rows of the experiment batch from the onset of context use on, where the noise scale is averaged."""
        curves, onsets = self.batch_curves, self.onset_losses
        least = np.array([onsets.get(float(N), math.inf) for N in curves["params"]])
        return curves.where(curves["loss"] <= least, "before the onset of context use")

    @functools.cached_property
    def other_batches(self) -> list[laws.KaplanBCrit]:
        """B_crit(L) of each size alone, and of all losses, those before the onset of context use too."""
        table, found = self.batch.table, []
        for N in np.unique(table["params"]):
            own = table.where(table["params"] == N, "another size")
            with contextlib.suppress(InputError):
                found.append(fit(laws.KaplanBCrit, own, loss="squared", weights=fits.sureness(own)))
        with contextlib.suppress(InputError):
            found.append(fits.of_scans(self.batch_curves)[0].fit)
        return [one.law for one in found if one.sound]

    def adjusted(self, curves: Table) -> Table:
        """Learning curves of two layers or more with batch_crit, steps_min and flops_min."""
        return with_minima(DEEP.admit(curves), self.batch.sure("B_crit(L)").fit.law)

    @functools.cached_property
    def compute_curves(self) -> Table:
        """The grid's learning curves with flops_min: where B is well below B_crit it is nearly the compute spent."""
        return self.adjusted(self.grid_curves)

    @functools.cached_property
    def steps_curves(self) -> Table:
        """The learning curves of the experiment steps, past the onset of context use, with steps_min.

        Raises:
            NotMeasurable: S_min is not told by the updates there.
        """
        runs_ = evidence.in_context(self.steps_runs)
        curves = self.curves("steps")
        if "onset" in runs_:
            onset = dict(zip(runs_["run"], runs_["onset"], strict=True))
            curves = curves.with_columns(onset=np.array([onset.get(run, math.nan) for run in curves["run"]]))
        curves = self.adjusted(IN_CONTEXT.admit(curves))
        if why := self.not_measurable(curves):
            raise NotMeasurable(why)
        return curves

    def not_measurable(self, curves: Table) -> str:
        """Why S_min = S / (1 + B_crit / B) along these curves is no measurement of updates; empty where it is one."""
        ratio = curves["batch_crit"] / curves["batch_tokens"]
        seen = self.batch.table["loss"]
        outside = (curves["loss"] < seen.min()) | (curves["loss"] > seen.max())
        beyond = outside & (ratio > NEARLY)  # below, S_min is S whatever B_crit is
        of_run = [np.flatnonzero(curves["run"] == run) for run in np.unique(curves["run"])]
        of_run = [rows[np.argsort(curves["step"][rows])] for rows in of_run]
        falls = sum(curves["steps_min"][rows[-1]] < (1 - FALLS) * curves["steps_min"][rows].max() for rows in of_run)
        why = []
        if falls:
            why.append(f"S_min falls while {falls} of {len(of_run)} runs go on")
        if np.mean(ratio > DILUTED) > 0.5:
            low, high = (digits.plain(float(np.quantile(ratio, q)), 2) for q in (0.1, 0.9))
            why.append(f"B_crit is {low} to {high} times the batch on most rows, so that S_min says more of B_crit(L)")
        if np.mean(beyond) > 0.5:
            span = f"{seen.min():.2f} to {seen.max():.2f} nats"
            share = digits.percent(float(np.mean(beyond)))
            why.append(f"{share} of the rows take B_crit(L) from beyond the {span} of the batch scan")
        return "; ".join(why)

    @functools.cached_property
    def steps(self) -> Known:
        """L(N, S_min) of the learning curves of the experiment steps, past the warm-up; eq. 1.6, S_c of S_min."""
        return known(study_laws.fitted(laws.KaplanNS, self.steps_curves, 0, clusters="run"))

    @functools.cached_property
    def sizes_left_out(self) -> list[laws.KaplanNS]:
        return sizes_left_out(self.steps_curves, self.steps.fit)

    @functools.cached_property
    def steps_without_batches(self) -> list[laws.KaplanNS]:
        """L(N, S_min) where B_crit(L), of which S_min is made, lacks one batch size at a time.

        Raises:
            Undecided: it cannot be fitted without one of them.
        """
        left = self.batches_left_out.laws
        found = with_other_batches(self.steps_curves, self.steps.fit, left)
        if len(found) < len(left):
            raise Undecided("L(N, S_min) cannot be fitted with B_crit(L) without one of the batch sizes")
        return found

    @functools.cached_property
    def steps_by_other_batches(self) -> list[laws.KaplanNS]:
        """L(N, S_min) by `other_batches`."""
        return with_other_batches(self.steps_curves, self.steps.fit, self.other_batches)

    @functools.cached_property
    def path(self) -> KaplanPath:
        """Appendix B's path from our L(N, S_min) and B_crit(L); its C is C_min."""
        law, batch = self.steps.sure("L(N, S_min)").fit.law, self.batch.fit.law
        assert isinstance(law, laws.KaplanNS)
        assert isinstance(batch, laws.KaplanBCrit)
        return KaplanPath(law.alpha_N, law.N_c, law.alpha_S, law.S_c, batch.alpha_B, batch.B_star)

    @functools.cached_property
    def fixed_batch(self) -> Efficient:
        """The best sizes over the compute spent at the batch of the grid; eq. 3.3."""
        return Efficient(laws.KaplanC, DEEP.admit(self.grid_curves))

    @functools.cached_property
    def counts(self) -> list[Best]:
        """N_opt(C) by the ends of the grid's branches under each count of N and C, from the same redrawn losses."""
        curves = recount.arm(DEEP.admit(self.grid))
        moves = recount.moves({"grid": curves}).of("grid", curves)
        return [recount.best(curves, count, moves) for count in Count]

    @functools.cached_property
    def least_compute(self) -> Efficient:
        """The best sizes over C_min; eq. 1.3."""
        return Efficient(laws.KaplanCMin, self.compute_curves)


def transformers(table: Table) -> Table:
    """The rows of Transformers with parameters outside the embeddings."""
    table = table.where(table["params"] > 0, "no layer, and so no parameters outside the embeddings")
    return table.where(table["kind"] == "transformer", "another architecture") if "kind" in table else table
