"""Where schedules of the learning rate lead: a known law comes back, and published curves are predicted."""

import contextlib
import dataclasses
import json
import re

import numpy as np
import pytest
from test_schedule_laws import FITTED, PREDICTED

from analysis import records, schedule_forecast
from analysis.laws.schedules import Functional, Schedules, Tissue, of_schedules
from analysis.load import load
from analysis.records import Records
from analysis.schedule_forecast import Asked, Curve, forecast, of_table
from analysis.table import Table
from scaling import checked, checkpoints, claims, cli, histories, schedules, study, worker
from scaling.config import DataConfig, EvalConfig, OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer

TRUTH = (3.0, 0.6, 0.5, 0.7, 300.0)
STEPS, WARMUP, PEAK = 6000, 200, 1e-3
OURS = ("cosine", "constant", "wsd,decay=0.1", "linear,end=0.2")


def curve(text, luck=0.0, seen=1.0, steps=STEPS):
    """A curve of the known law under a schedule, its losses moved by some luck, seen up to a share of its updates."""
    like = Curve("", np.array([1.0]), np.array([1.0]), PEAK * schedules.shape("constant", steps, WARMUP, 1))
    rates = Asked.read(text).rates(like)
    step = np.arange(50.0, seen * steps + 1, 50)
    loss = of_schedules(Tissue, Schedules.of([rates]))(*TRUTH)(step, np.ones(len(step)))
    return Curve(text, step, np.asarray(loss) * np.exp(luck), rates)


def end(text, steps=STEPS):
    return curve(text, steps=steps).loss[-1]


def test_a_known_law_predicts_schedules_that_it_has_not_seen():
    seen = [curve(text) for text in OURS[:3]]
    asked = ["wsd,decay=0.3", "linear", "cosine,steps=9000", "wsd,decay=0.2,fall=linear,end=0.1"]
    found = forecast(seen, asked)
    for one, text in zip(found.endings, asked, strict=True):
        steps = 9000 if "steps" in text else STEPS
        assert one.value == pytest.approx(end(text.replace(",steps=9000", ""), steps), rel=5e-4)
        assert one.steps == steps
    assert found.rms < 2e-4


def test_an_unfinished_run_ends_where_the_law_and_its_own_luck_lead():
    lucky = curve("cosine", luck=-0.004, seen=0.6)
    found = forecast([curve(text) for text in OURS[1:]] + [lucky], ["planned"])
    (one,) = found.endings
    assert one.run == "cosine"
    assert one.value == pytest.approx(end("cosine") * np.exp(-0.004), rel=2e-3)
    assert one.low < end("cosine") * np.exp(-0.004) < one.high
    assert len(one.held_out) == 3


def test_an_interval_comes_from_whole_curves_and_is_as_wide_as_their_luck():
    rng = np.random.default_rng(0)
    inside, widths = 0, []
    for _ in range(4):
        seen = [curve(text, luck=0.003 * rng.normal()) for text in OURS]
        (one,) = forecast(seen, ["wsd,decay=0.3"]).endings
        inside += one.low < end("wsd,decay=0.3") < one.high
        widths.append((one.high - one.low) / one.value)
    assert inside == 4
    assert 0.004 < np.median(widths) < 0.08
    (alone,) = forecast([curve("cosine")], ["wsd"]).endings
    assert np.isnan(alone.low)
    assert "two other curves" in alone.why


def test_intervals_of_constants_hold_the_truth_and_are_as_wide_as_the_luck_of_the_curves():
    rng, held, widths = np.random.default_rng(1), [], []
    for luck in (3e-3,) * 5 + (3e-4,) * 2:
        curves = [curve(text, luck * rng.normal()) for text in ("constant", "cosine", "wsd,decay=0.2")]
        found, _, ends = schedule_forecast.fitted(Tissue, curves)
        each = schedule_forecast.LeftOut(Tissue, curves, ends).intervals(found)
        held.append([low < truth < high for (low, high), truth in zip(each.values(), TRUTH, strict=True)])
        widths.append(np.log(each["alpha"][1] / each["alpha"][0]))
    assert np.mean(held) > 0.9
    assert 0.05 < np.median(widths[:5]) < 1
    assert np.median(widths[5:]) < 0.3 * np.median(widths[:5])


@pytest.mark.parametrize("law", [Tissue, Functional])
def test_a_law_without_a_curve_is_the_one_that_all_starts_lead_to(law):
    curves = [curve(text, luck) for text, luck in zip(OURS, (-0.004, 0.004, 0.0, 0.003), strict=True)]
    left_out = schedule_forecast.LeftOut(law, curves, schedule_forecast.fitted(law, curves).ends)
    for k, one in enumerate(left_out.laws):
        rest = curves[:k] + curves[k + 1 :]
        found = schedule_forecast.fitted(law, rest, schedule_forecast.under(law, rest, [curves[k].rates])).law
        at = curves[k].step, np.full(len(curves[k].step), float(len(curves)))
        assert not isinstance(one, InputError)
        np.testing.assert_allclose(one(*at), found(*at), rtol=1e-4)


def test_constants_have_no_interval_where_curves_cannot_tell_one():
    one, two, flat = curve("cosine"), curve("wsd,decay=0.1"), curve("constant")
    assert "no intervals: 2 curves; wanted three or more" in forecast([one, two], ["linear"]).text()
    found = forecast([one, flat, curve("constant", steps=5000)], ["linear"])
    assert "no intervals: without cosine there is no law: no curve has seen its learning rate fall" in found.text()
    assert found.to_dict()["intervals"] == {}
    (C,) = (constant for constant in Tissue.constants() if constant.name == "C")
    assert not schedule_forecast.inside(Tissue, C, np.array([0.5, 0.0]))


def test_a_curve_of_another_model_is_named():
    other = curve("wsd,decay=0.1", luck=-0.15)
    said = forecast([curve("cosine"), curve("linear"), curve("constant"), other], ["cosine"]).text()
    assert re.search(r"warning: it misses wsd,decay=0\.1 by \+\d\.?\d* % on average: are all curves of one model", said)
    alike = [curve(text, luck) for text, luck in zip(OURS, (-0.004, 0.004, 0.0, 0.004), strict=True)]
    assert "warning" not in forecast(alike, ["cosine"]).text()


@pytest.mark.parametrize("size", [25, 400])
def test_published_curves_predict_others_to_a_percent_and_a_half_most_of_them_inside_the_interval(shared, size):
    folder = shared / "reference_runs" / "luo2025_loss_curves"
    curves = of_table(load([folder / f"{size}_{name}.csv" for name in FITTED], curves=True))
    asked = {"constant_72000": "constant,steps=72000", "cosine_72000": "cosine,steps=72000,end=0.1",
             "wsd_20000_24000": "wsd,decay=0.16667,end=0.1,fall=exponential,steps=24000",
             "wsdld_20000_24000": "wsd,decay=0.16667,end=0.1,fall=linear,steps=24000"}  # fmt: skip
    assert set(asked) < set(PREDICTED)
    inside = 0
    for name, one in zip(asked, forecast(curves, list(asked.values())).endings, strict=True):
        measured = load(folder / f"{size}_{name}.csv")["loss"][-1]
        assert one.value == pytest.approx(measured, rel=0.015)
        inside += one.low < measured < one.high
    assert inside >= 3


def test_a_run_of_a_study_is_followed_to_the_end_of_its_own_plan():
    model = transformer(16, 2, 8, n_ctx=64)
    runs = {
        schedule: RunConfig(
            model,
            tokens=2**20,
            batch=4,
            optim=OptimConfig(PEAK, schedule=schedule, warmup=0.05),
            eval=EvalConfig(per_octave=8),
        )
        for schedule in ("constant", "wsd", "linear", "cosine")
    }
    rows, ends = [], {}
    for name, run in runs.items():
        falling = run.falling_steps
        rates = PEAK * schedules.shape(name, run.steps, run.warmup_steps, falling)
        step = np.arange(64.0, run.steps + 1, 64)
        loss = np.asarray(of_schedules(Tissue, Schedules.of([rates]))(*TRUTH)(step, np.ones(len(step))))
        ends[name] = loss[-1]
        cut = len(step) * 2 // 3 if name == "cosine" else len(step)
        rows += [{"run": name, "step": t, "loss": L} for t, L in zip(step[:cut], loss[:cut], strict=True)]
    none = Table({"run": np.array([], str)}, np.arange(0), "none")
    (curves,) = schedule_forecast.of_records(Records(none, Table.from_rows(rows), none, (), runs)).values()
    (one,) = forecast(curves, ["planned"]).endings
    assert (one.run, one.steps) == ("cosine", runs["cosine"].steps)
    assert one.value == pytest.approx(ends["cosine"], rel=2e-3)


def left(config, share):
    """The last loss of the known law after a share of a run's updates, and the history of a pack of that run alone."""
    rates = PEAK * schedules.shape(config.optim.schedule, config.steps, config.warmup_steps, config.falling_steps)
    law = of_schedules(Tissue, Schedules.of([rates]))(*TRUTH)
    done = int(share * config.steps)
    step = np.array([at for at in config.eval_steps if at <= done])
    loss = np.asarray(law(np.maximum(step, 1.0), np.ones(len(step))))
    return loss[-1], histories.start(1, 16) | {
        "train_loss": np.asarray(law(np.arange(1.0, done + 1), np.ones(done)))[:, None].astype(np.float32),
        "grad_norm": np.ones((done, 1), np.float32),
        "eval_step": step,
        "eval_loss": np.repeat(loss[:, None, None], 16, axis=2).astype(np.float32),
        "seconds": np.asarray(1.0),
        "finished": np.asarray(share == 1),
    }


@pytest.mark.usefixtures("cache", "unoptimised")
def test_the_status_of_a_study_says_where_the_runs_in_training_end(tmp_path, capsys):
    """Three finished schedules of one model tell where a fourth ends; one of another model has seen no fall."""
    first = RunConfig(
        transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16),
        tokens=2**16,
        batch=4,
        data=DataConfig("synthetic:order=1,symbols=8,bytes=5e5", "bytes"),
        optim=OptimConfig(PEAK, warmup=0.05),
        eval=EvalConfig(windows=16, per_octave=8, octaves=7),
    )
    runs = [
        dataclasses.replace(first, optim=dataclasses.replace(first.optim, schedule=name))
        for name in ("linear", "wsd", "constant", "cosine")
    ]
    runs.append(dataclasses.replace(runs[1], model=transformer(16, 1, d_head=8, n_vocab=257, n_ctx=16)))
    whole = study.prepare(Study("four", "?", tuple(runs)), tmp_path, pack=1, workers=1, say=lambda line: None)
    of = {pack.runs[0].config: pack for pack in whole.packs}
    for config in runs[:3]:
        _, history = left(config, 1)
        with claims.take(whole.claims(of[config])) or pytest.fail("taken") as claim:
            told = worker.outcome(of[config], history) | {"history": study.keep_history(claim.folder, history)}
            checked.write(claim.folder / "done.json", told)
    ends, _ = left(runs[3], 1)
    with contextlib.ExitStack() as held:
        for config in runs[3:]:
            claim = held.enter_context(claims.take(whole.claims(of[config])) or pytest.fail("taken"))
            kept = checkpoints.Record(claim.folder)
            kept.save(config.steps * 2 // 3, {"weights": np.zeros(1)}, left(config, 2 / 3)[1])
            kept.close()
        (one,) = schedule_forecast.of_running(whole, [of[runs[3]]]).values()
        assert isinstance(one, schedule_forecast.Ending)
        assert one.value == pytest.approx(ends, rel=2e-3)
        assert one.low < ends < one.high
        with pytest.raises(SystemExit):
            cli.main(["study", "status", str(tmp_path)])
    said = capsys.readouterr().out
    assert f"{of[runs[3]].runs[0].id} ends at {one.told()}" in said
    assert f"{of[runs[4]].runs[0].id} cannot be told: no finished run of its model and batch" in said
    # Its table of curves holds the schedules: as a file it is predicted as the study is, unfinished runs too.
    with pytest.raises(SystemExit) as stopped:
        cli.main(["study", "export", str(tmp_path), "--csv", str(tmp_path / "curves.csv"), "--curves"])
    assert stopped.value.code == 0, capsys.readouterr().err
    table = load(tmp_path / "curves.csv", curves=True)
    kept = {}
    for params in np.unique(table["params"]):
        kept |= {one.name: one for one in of_table(table.where(table["params"] == params, "of another model"))}
    own = [one for each in schedule_forecast.of_records(records.read(tmp_path)).values() for one in each]
    assert len(kept) == len(own) == 5
    for one in own:
        np.testing.assert_allclose(kept[one.name].rates, one.rates, rtol=1e-12)
        np.testing.assert_allclose(kept[one.name].loss, one.loss)
    assert [one.unfinished for one in own].count(True) == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [(("planned",), "no run on its way"), (("cosine", "--columns", "loss=x"), "those of the study"),
     (("cosine", "--run", "x"), "no run x with")],
)  # fmt: skip
def test_what_a_finished_study_cannot_be_asked_is_told_in_a_line(tmp_path, capsys, monkeypatch, words, told):
    (tmp_path / "study.json").write_text("{}")
    monkeypatch.setattr("analysis.records.read", lambda path: None)
    monkeypatch.setattr(schedule_forecast, "of_records", lambda records: {"1": [curve("cosine")]})
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", str(tmp_path), "--schedule", *words])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_curves_whose_rate_never_fell_tell_nothing_of_a_fall():
    with pytest.raises(InputError, match="no curve has seen its learning rate fall"):
        forecast([curve("constant")], ["cosine"])


@pytest.mark.parametrize(
    "typed", ["triangle", "cosine,decay=0.1", "wsd,decay=2", "wsd,fall=up", "cosine,steps=", "wsd,fall=exponential",
              "linear,end=1", "cosine,warmup=6000", "cosine,end=0.1,end=0.2", "cosine,peak=nan"]
)  # fmt: skip
def test_a_schedule_that_is_none_is_refused_in_a_line(typed):
    with pytest.raises(InputError, match=r"wanted|do not fit|finite"):
        forecast([curve("cosine")], [typed])


def test_curves_of_files_are_predicted_from_the_command_line(tmp_path, capsys):
    for k, text in enumerate(OURS[:3]):
        one = curve(text, luck=2e-4 * (k - 1))
        at = one.step.astype(int)
        columns = {"step": one.step, "lr": one.rates[at - 1], "loss": one.loss, "run": np.full(len(at), f"run {k}")}
        Table.from_columns(columns).to_csv(tmp_path / f"{k}.csv")
    files = [str(tmp_path / f"{k}.csv") for k in range(3)]

    def run(*words):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["predict", *files, *words])
        return stopped.value.code, capsys.readouterr()

    code, said = run("--schedule", "wsd,decay=0.3", "linear", "--json")
    assert not code
    found = json.loads(said.out)
    assert found["curves"] == 3
    low, high = found["intervals"]["alpha"]
    assert low < found["constants"]["alpha"] < high
    assert found["endings"][0]["value"] == pytest.approx(end("wsd,decay=0.3"), rel=3e-3)
    code, said = run("--schedule", "linear")
    assert re.search(r"linear: \d\.\d{4} after 6k updates \(\d\.\d{4} to \d\.\d{4}, 95% of one run\)", said.out)
    code, said = run("--schedule", "cosine,steps=9000", "--run", "run 0")
    assert "run 0, cosine,steps=9000: " in said.out
    for words, told in (
        (["--schedule", "linear", "--params", "1e9"], "leave out"),
        (["--run", "0"], "with --schedule"),
        (["--schedule", "planned"], "name a schedule"),
        (["params=1e9"], "params=1e9: wanted --COLUMN VALUE pairs: --params 1e9"),
    ):
        code, said = run(*words)
        assert code == 2
        assert told in said.err
        assert len(said.err.strip().splitlines()) == 1


@pytest.mark.parametrize(("seen", "why"), [(0.27, "or 30% of the run"), (0.5, "too little saw its rate fall")])
def test_a_run_alone_says_why_its_end_has_no_interval(seen, why):
    (one,) = forecast([curve("cosine", seen=seen)], ["planned"]).endings
    assert np.isnan(one.low)
    assert why in one.told()


def test_a_run_goes_by_the_name_of_its_file_whatever_its_folder_unless_two_do():
    old = [dataclasses.replace(curve(text), name=f"runs/{text}") for text in OURS[1:]]
    now = dataclasses.replace(curve("cosine", seen=0.6), name="studies/now")
    for run in ("now", "now.csv", "studies/now"):
        (one,) = forecast([*old, now], ["cosine"], run=run).endings
        assert one.run == "studies/now"
    twice = [*old, now, dataclasses.replace(now, name="others/now")]
    with pytest.raises(InputError, match="2 curves are called so"):
        forecast(twice, ["cosine"], run="now")
    rate = dataclasses.replace(now, name="studies/lr0.1")
    for run in ("lr0.1", "lr0.1.csv", "studies/lr0.1.csv"):
        (one,) = forecast([*old, rate], ["cosine"], run=run).endings
        assert one.run == "studies/lr0.1"
    for run in ("elsewhere/lr0.1.csv", "elsewhere/lr0.1", "lr0", "."):
        with pytest.raises(InputError, match="there is no such curve"):
            forecast([*old, rate], ["cosine"], run=run)


def test_a_table_may_hold_the_plan_of_a_schedule_in_place_of_its_rates():
    step = np.arange(50.0, 1001.0, 50)
    plan = {"run": np.full(20, "a"), "step": step, "loss": 4 - step / 1000, "learning_rate": np.full(20, PEAK)}
    for name in schedules.NAMES:
        own = {"schedule": np.full(20, name), "steps": np.full(20, 2000.0), "warmup": np.full(20, 100.0)}
        own |= {"cooldown": np.full(20, 0.25), "learning_rate_end": np.full(20, 0.1)}
        (one,) = of_table(Table.from_columns(plan | own))
        falling = 500 if name in ("wsd", "wsd_linear", "two_stage") else 1900
        np.testing.assert_allclose(one.rates, PEAK * schedules.shape(name, 2000, 100, falling, 0.1))
        assert one.unfinished
        # Rates that differ from row to row are the rates, whatever the schedule is called.
        (read,) = of_table(Table.from_columns(plan | own | {"learning_rate": PEAK * (1 - step / 2000)}))
        assert read.rates[-1] == pytest.approx(PEAK / 2)
    lacking = plan | {"schedule": np.full(20, "wsd"), "steps": np.full(20, 2000.0)}
    with pytest.raises(InputError, match="its schedule is wsd; wanted the rate of each row, or columns steps, warmup"):
        of_table(Table.from_columns(lacking))
    with pytest.raises(InputError, match="its schedule is cosine; wanted"):
        of_table(Table.from_columns(plan | {"schedule": np.full(20, "cosine")}))
    two = {name: np.append(column, column) for name, column in plan.items()} | {"run": np.repeat(["a", "b"], 20)}
    with pytest.raises(InputError, match="curves of params 1M, 2M; a law of whole curves is of one model"):
        of_table(Table.from_columns(two | {"params": np.repeat([1e6, 2e6], 20)}))
    with pytest.raises(InputError, match="b diverged"):
        of_table(Table.from_columns(two | {"status": np.repeat(["done", "diverged"], 20)}))
    (other,) = of_table(Table.from_columns(plan | {"schedule": np.full(20, "none of ours")}))
    assert other.rates[-1] == PEAK


def test_a_law_of_whole_curves_is_found_where_it_is_fitted(capsys):
    """It is made for the schedules of its curves, and no other law is fitted to them."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fit", "tissue", "curves.csv"])
    assert stopped.value.code == 2
    assert "scaling predict CURVES --schedule" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["fit", "--list"])
    said = capsys.readouterr().out
    assert all(f"\n{law.name}\n" in said for law in schedule_forecast.LAWS.values())


def test_every_law_of_whole_curves_can_be_asked():
    assert set(schedule_forecast.LAWS) == {"tissue", "luo", "functional"}
    (one,) = forecast([curve(text) for text in OURS[:2]], ["wsd,decay=0.3"], law="luo").endings
    assert one.value == pytest.approx(end("wsd,decay=0.3"), rel=0.01)
