"""Models with experts from our own runs: a known law comes back; dense and routed models beside each other by one."""

import dataclasses
import json
import math
import signal
import zlib

import numpy as np
import pytest

from analysis import reference
from analysis.laws import Clark
from analysis.papers.claim import Verdict
from analysis.papers.moe.evidence import MoE, hashed, printed
from analysis.papers.moe.paper import PAPER
from analysis.papers.reproduction import planned_row
from analysis.plan import experts
from analysis.records import Records
from analysis.table import Table
from configs import grid
from configs.moe import budgets, experiments
from scaling import cli
from scaling.errors import InputError

LAW = Clark(-0.06, -0.09, 0.012, 0.80, printed("E_start"), printed("E_max"))
BY_ROUTING = {"hash": 0.0, "top_k": -0.01, "expert_choice": -0.05, "expert_choice_at_position": 0.01}


def records(law: Clark = LAW, seed_noise: float = 0.0005, budget: str = "cpu-1h") -> dict[str, Records]:
    """Every experiment's runs, by a law of their size and experts, and of their tokens alike for all."""
    at, found = budgets.named(budget), {}
    for name, of in experiments.EXPERIMENTS.items():
        rows = []
        for run in of(at):
            model, routed = run.model, run.model.experts > 1
            name_of = f"{model}-{run.tokens}-{run.seed}-{run.optim.learning_rate}"
            rng = np.random.default_rng(zlib.crc32(name_of.encode()))
            size = at.grid.size(round(math.log2(model.N / at.grid.size(0))))  # without a router
            loss = float(law(size, model.experts)) * (run.tokens / 2**at.longest) ** -0.05
            loss *= 1 + BY_ROUTING[model.routing] * routed if name == "routings" else 1.0
            rows.append(
                {
                    **planned_row(run).row,
                    "params": size,
                    "run": name_of,
                    "status": "done",
                    "loss": loss * float(np.exp(seed_noise * rng.standard_normal())),
                    "epochs": 1.0,
                    "params_experts": float(model.N),
                    "experts": float(model.experts),
                    "routing": model.routing if routed else "",
                    "onset": 0.1 * run.tokens,
                    "steps": run.steps,
                }
            )
        empty = Table({"run": np.array([], str), "step": np.array([])}, np.arange(0), "planted")
        found[name] = Records(Table.from_rows(rows, "planted"), empty, empty, (), {})
    return found


@pytest.fixture(scope="module")
def evidence() -> MoE:
    return MoE(records())


def test_the_law_of_experts_that_was_planted_comes_back(evidence):
    N = evidence.runs["params"].max()
    slope, change = evidence.slope(), evidence.interaction()
    assert slope.interval[0] < LAW.b + LAW.c * math.log10(N) < slope.interval[1]
    assert change.interval[0] < LAW.c < change.interval[1]
    most = evidence.most()
    assert most.interval[0] < float(LAW(N, 16.0) / LAW(N, 1.0)) < most.interval[1]
    assert most.verdict is Verdict.DIFFERS  # from the paper's, which is lower
    assert most.paper == pytest.approx(float(hashed()(N, 16.0) / hashed()(N, 1.0)))


def test_the_range_over_choices_has_the_slope_by_the_saturation_that_was_planted():
    """Experts count from the second on here, as by the paper's learned router: its hash begins at four."""
    law = dataclasses.replace(LAW, E_start=printed("E_start", "rlr"), E_max=printed("E_max", "rlr"))
    evidence = MoE(records(law))
    slope, truth = evidence.slope(), law.b + law.c * math.log10(evidence.runs["params"].max())
    assert evidence.sooner.residuals.rms < 0.5 * evidence.clark.residuals.rms
    assert slope.interval is not None
    assert slope.span is not None
    assert slope.interval[1] < truth  # with the saturation of a hash
    assert slope.span[0] < truth < slope.span[1] + 0.002


def test_experts_that_change_nothing_are_said_to_change_nothing():
    flat = MoE(records(dataclasses.replace(LAW, b=0.0, c=0.0), seed_noise=0.003))
    most = flat.most()
    assert most.interval is not None
    assert most.interval[0] < 1 < most.interval[1]
    gains = flat.gains
    outside = np.abs(gains.change) > gains.half
    assert outside.mean() < 0.25
    drawn = PAPER.draw_one("fig1", flat)
    assert any("no clear difference" in line for line in drawn.sentences)


def test_ways_of_routing_are_held_against_the_dense_model(evidence):
    for way, (change, half, E) in evidence.routings.items():
        dense_of = math.log(float(LAW(24576, 8.0) / LAW(24576, 1.0)))
        assert change == pytest.approx(dense_of + math.log1p(BY_ROUTING[way]), abs=0.004), way
        assert (0 < half < 0.01, E) == (True, 8)


def test_every_figure_has_its_points_and_says_what_it_lacks(evidence):
    for name in PAPER.figures:
        drawn = PAPER.draw_one(name, evidence)
        assert len(drawn.data) > 3, name
        assert drawn.sentences, name
        assert drawn.decided or name == "table1", (name, drawn.open)
    for name in ("fig1", "fig2", "table1"):
        assert not PAPER.draw_one(name, MoE({})).decided


def test_a_part_of_the_runs_is_drawn_and_the_rest_is_said_to_lack():
    whole = records()
    some = MoE({"experts": whole["experts"]})
    drawn = PAPER.draw_one("fig2", some)
    assert drawn.figure is not None
    assert any("routings has finished" in line for line in drawn.open)
    runs = whole["experts"].runs
    one = runs.where(runs["params"] == runs["params"].min(), "other sizes")
    drawn = PAPER.draw_one("fig1", MoE({"experts": dataclasses.replace(whole["experts"], runs=one)}))
    assert len(drawn.data) == len(one)
    assert any("16 experts over one" in line for line in drawn.sentences)
    assert any("fewer than 3 sizes" in line for line in drawn.open)


@pytest.mark.parametrize("budget", budgets.BUDGETS)
def test_dense_runs_are_the_main_grids_and_experts_cost_a_token_nothing_more(budget):
    at = budgets.named(budget)
    runs = experiments.experts(at)
    dense = {run for run in runs if run.model.experts == 1}
    assert {dataclasses.replace(run, seed=0) for run in dense} <= set(grid.runs(at.grid, at.rates))
    for run in runs:
        like = dataclasses.replace(run, model=dataclasses.replace(run.model, kind="transformer", experts=1,
                                                                  routing="top_k", capacity=1.25))  # fmt: skip
        assert like in dense
        assert run.model.N == like.model.N
    assert {run.model.experts for run in runs} == set(at.experts)
    ways = {run.model.routing: run.model for run in experiments.routings(at) if run.model.experts > 1}
    assert ways.keys() == set(experiments.ROUTINGS)
    assert ways["top_k"].capacity == ways["hash"].capacity


def test_the_joint_laws_best_sizes_are_the_papers():
    table = reference.published()["ludziejewski2025"]["optimum"]["value"]
    for flops, number, params, tokens, loss in table:
        found = next(o for o in experts.compare(experts.published(), flops, [number]).at_compute if o.experts == number)
        assert found.params == pytest.approx(params, rel=0.03)
        assert found.tokens == pytest.approx(tokens, rel=0.03)
        if loss is not None:
            assert found.loss == pytest.approx(loss, abs=1e-4)


def test_eight_experts_in_the_memory_of_the_best_dense_model_beat_it_on_eight_times_its_tokens():
    """Ludziejewski et al.'s rule, with the share of their shapes: 9 of 13 parameters of a layer."""
    law = experts.published()
    dense = experts.compare(law, 1e21, [1]).best
    N = dense.params / experts.held(1.0, 8, 9 / 13)
    assert float(law(N, 8 * dense.tokens, 8.0)) < dense.loss


def test_in_a_smaller_memory_fewer_experts_are_best():
    law = experts.published()
    free = experts.compare(law, 1e21)
    assert free.best.experts == 32
    held = experts.compare(law, 1e21, total_params=3e9)
    assert held.best.experts < 32
    for option in held.in_memory:
        assert option.params_experts <= 3e9 * (1 + 1e-9)
        assert 6 * option.params * option.tokens == pytest.approx(1e21)
    none = experts.compare(law, 1e21, total_params=1e12)
    assert none.in_memory == none.at_compute
    with pytest.raises(InputError, match="total params 0: wanted 1 or more"):
        experts.compare(law, 1e21, total_params=0)


def test_the_command_compares_and_refuses_what_does_not_belong(capsys):
    def run(line: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(line.split())
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return int(end.value.code or 0), *capsys.readouterr()

    code, out, _ = run("plan published:ludziejewski --flops 1e21 --experts 1 8 --total-params 4e9")
    assert code == 0
    assert "Warning: published constants" in out
    assert "And holding 4" in out
    code, out, _ = run("plan published:ludziejewski --flops 1e21 --experts 8 --json")
    assert [option["experts"] for option in json.loads(out)["at_compute"]] == [1, 8]
    code, _, err = run("plan published:chinchilla --flops 1e21 --total-params 4e9")
    assert code == 2
    assert "--total-params is about experts" in err
    code, _, err = run("plan published:ludziejewski --flops 1e21")
    assert code == 2
    assert "scaling plan published:ludziejewski --flops C --experts 1 8 32" in err
    code, _, err = run("plan published:chinchilla --flops 1e21 --experts 8")
    assert code == 2
    assert "published:chinchilla knows no experts; wanted published:ludziejewski" in err
