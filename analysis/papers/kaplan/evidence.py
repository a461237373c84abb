"""What the paper's figures share: the runs of its experiments and the laws that they tell, each worked out once."""

import functools

import numpy as np

from analysis import laws
from analysis.batch_size import Critical, with_minima
from analysis.findings import checks, study_laws
from analysis.fit.estimate import Fit
from analysis.fit.rows import admitted
from analysis.kaplan_path import KaplanPath
from analysis.laws.admission import (
    DEEP,
    FINISHED,
    OF_ENVELOPE,
    ONE_BATCH,
    ONE_LENGTH,
    ONE_PASS,
    WARM,
    Admission,
    commonest,
)
from analysis.laws.law import Law
from analysis.page.canvas import Shades
from analysis.papers import evidence
from analysis.papers.claim import Undecided
from analysis.papers.kaplan import fits, runs
from analysis.papers.kaplan.left_out import Left, batches_left_out, jackknife, paths_left_out, sizes_left_out
from analysis.papers.known import Known, known
from analysis.table import Table

NO_LADDER = "no run of the ladder has finished"
ONE_CONTEXT = Admission("share one context", commonest("n_ctx", "context", "the line is at one"))
ALIKE = (ONE_PASS, ONE_LENGTH, ONE_CONTEXT, ONE_BATCH)  # what the runs of the ladder are, besides their sizes
SAME = ("tokens", "unique_tokens", "batch_tokens", "n_ctx", "n_vocab", "dropout", "schedule", "warmup", "tokens_id")


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
            raise Undecided(f"{n} sizes lie on the envelope between the smallest and the largest; wanted {fits.LEAST}")
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
    def shades(self) -> Shades:
        """One colour for each N in all figures."""
        return Shades.of(transformers(self.need(*self.experiments)))

    @functools.cached_property
    def size_runs(self) -> Table:
        return self._transformers("size")

    @functools.cached_property
    def data_runs(self) -> Table:
        return self._transformers("data")

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
    def size_curves(self) -> Table:
        return self.curves("size")

    @functools.cached_property
    def batch_curves(self) -> Table:
        return self.curves("batch")

    @functools.cached_property
    def deep_curves(self) -> Table:
        """The learning curves of the experiment size, of models of two layers or more."""
        return DEEP.admit(self.size_curves)

    @functools.cached_property
    def ladder(self) -> Table:
        """The data-ample Transformers of the experiment `size`: one pass, the commonest length, the rule's rate.

        Of all depths, 0 and 1 layers among them.
        """
        table = runs.of_kind(self.need("size"), "transformer")
        for rule in ALIKE:
            table = rule.admit(table)
            if not len(table):
                raise Undecided(NO_LADDER)
        own, _ = checks.own_rates(table)
        return table.where(own, "another learning rate than the rule's")

    def on_line(self, curves: Table) -> Table:
        """The learning curves of the ladder's own `line` alone: one depth at each width."""
        keep = np.isin(curves["run"], runs.line(runs.deep(self.ladder))["run"])
        if not keep.any():
            raise Undecided(NO_LADDER)
        return curves.where(keep, "off the line of sizes, of another depth")

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
            keep &= np.abs(table["d_ff"] / (4 * table["d_model"]) - 1) < 0.1
        if not keep.any():
            raise Undecided("no Transformer was trained on the same tokens for as long")
        return runs.line(runs.best_rates(table.where(keep, "trained otherwise")))

    # --- laws

    @functools.cached_property
    def size(self) -> Known:
        """L(N) of the experiment size: ample data, two layers or more; eq. 1.1."""
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
        return fits.of_scans(self.batch_curves)

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
        return batches_left_out(self.batch_curves, self.batch.fit)

    @functools.cached_property
    def adjusted(self) -> Table:
        """The learning curves of the experiment size with steps_min and flops_min, one-layer models left out."""
        curves = self.deep_curves
        return with_minima(curves, self.batch.sure("B_crit(L)").fit.law)

    @functools.cached_property
    def steps(self) -> Known:
        """L(N, S_min) of the learning curves of the experiment size, past the warm-up; eq. 1.6, S_c of S_min."""
        return known(study_laws.fitted(laws.KaplanNS, self.adjusted, 0, clusters="run"))

    @functools.cached_property
    def sizes_left_out(self) -> list[laws.KaplanNS]:
        return sizes_left_out(self.adjusted, self.steps.fit)

    @functools.cached_property
    def path(self) -> KaplanPath:
        """Appendix B's path from our L(N, S_min) and B_crit(L); its C is C_min."""
        law, batch = self.steps.sure("L(N, S_min)").fit.law, self.batch.fit.law
        assert isinstance(law, laws.KaplanNS)
        assert isinstance(batch, laws.KaplanBCrit)
        return KaplanPath(law.alpha_N, law.N_c, law.alpha_S, law.S_c, batch.alpha_B, batch.B_star)

    @functools.cached_property
    def fixed_batch(self) -> Efficient:
        """The best sizes over the compute spent at the batch of the experiment size; eq. 3.3."""
        return Efficient(laws.KaplanC, self.deep_curves)

    @functools.cached_property
    def least_compute(self) -> Efficient:
        """The best sizes over C_min; eq. 1.3."""
        return Efficient(laws.KaplanCMin, self.adjusted)


def transformers(table: Table) -> Table:
    """The rows of Transformers with parameters outside the embeddings."""
    table = table.where(table["params"] > 0, "no layer, and so no parameters outside the embeddings")
    return table.where(table["kind"] == "transformer", "another architecture") if "kind" in table else table
