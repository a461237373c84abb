"""Logs and tables of other tools, in their true layouts, become runs and curves with the right units and ids."""

import gzip
import json
import math
import re
import struct

import numpy as np
import pytest

from analysis.load import load
from analysis.logs.tensorboard import _checksum
from scaling import cli
from scaling.errors import InputError

A, B = 4.0, 3.5  # final held-out losses of the two runs in most of these stories


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def noted(table, words):
    return any(words in note for note in table.notes)


def test_a_folder_of_lightning_versions_gives_a_run_each_with_its_hparams(tmp_path):
    for version, (n, last) in enumerate([(1e6, A), (4e6, B)]):
        folder = tmp_path / "lightning_logs" / f"version_{version}"
        write(
            folder / "hparams.yaml",
            f"model:\n  n_params: {n:.0f}\n  tie: true\npath: !!python/object:x.Y {{}}\nlr: 0.001\nseed: {version}\n",
        )
        write(
            folder / "metrics.csv",
            f"epoch,step,train_loss,val_loss\n0,49,6.0,\n0,99,5.0,\n0,99,,4.9\n1,149,4.8,\n1,199,4.6,\n1,199,,{last}\n",
        )
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "last.ckpt").write_bytes(bytes(1000))
        write(
            folder / "train.py",
            '"""Prints:\n\nstep 0: train loss 9.9, val loss 9.9\nstep 1: train loss 9.8, val loss 9.8\n"""\n',
        )
    columns = {"params": "model.n_params", "tokens": "8192*steps"}
    table = load(tmp_path / "lightning_logs", columns)
    assert table["run"].tolist() == ["version_0", "version_1"]
    assert table["params"].tolist() == [1e6, 4e6]
    assert table["loss"].tolist() == [A, B]
    assert table["tokens"].tolist() == [8192 * 199] * 2
    assert table["learning_rate"].tolist() == [1e-3] * 2
    assert table["seed"].tolist() == [0, 1]
    assert noted(table, "4 files that are no logs are left alone: train.py, last.ckpt")
    curves = load(tmp_path / "lightning_logs", {"tokens": "8192*step"}, curves=True)
    assert curves["step"].tolist() == [99, 199] * 2
    assert curves["loss"].tolist() == [4.9, A, 4.9, B]
    np.testing.assert_allclose(curves["train_loss"], [5.5, 4.7] * 2)  # the mean since the row before


def state(step, last, tokens=None, planned=200):
    rows = [
        {"epoch": 0.1, "grad_norm": 1.0, "learning_rate": 3e-4, "loss": 5.0, "step": 100},
        {"epoch": 0.1, "eval_loss": 4.9, "eval_runtime": 1.0, "step": 100},
    ]
    if step > 100:
        rows += [
            {"epoch": 0.2, "learning_rate": 0.0, "loss": 4.4, "step": 200},
            {"epoch": 0.2, "eval_loss": last, "eval_runtime": 1.0, "step": 200},
            {"epoch": 0.2, "step": 200, "total_flos": 6e15, "train_loss": 4.7, "train_runtime": 60.5},
        ]
    more = {"num_input_tokens_seen": tokens} if tokens else {}
    return {"global_step": step, "max_steps": planned, "total_flos": 3e13 * step, "log_history": rows, **more}


def test_the_newest_checkpoint_of_a_trainer_tells_of_its_run(tmp_path):
    """total_flos is 6 N D, N without embeddings: with the tokens it gives N."""
    for run, last in (("small", A), ("large", B)):
        for step in (100, 150, 200):
            write(tmp_path / run / f"checkpoint-{step}" / "trainer_state.json", state(step, last, tokens=1e4 * step))
        write(tmp_path / run / "checkpoint-200" / "config.json", {"hidden_size": 64, "num_hidden_layers": 2})
        events = tmp_path / run / "runs" / "Jan01_00-00-00_host" / "events.out.tfevents.1.host.1.0"
        events.parent.mkdir(parents=True)
        events.write_bytes(event(0) + event(200, "eval/loss", last))
    table = load(tmp_path)
    assert sorted(table["run"]) == ["large", "small"]
    assert table["status"].tolist() == ["done"] * 2
    assert dict(zip(table["run"], table["loss"], strict=True)) == {"small": A, "large": B}
    assert table["flops"].tolist() == [6e15] * 2
    assert table["tokens"].tolist() == [2e6] * 2
    np.testing.assert_allclose(table["params"], 6e15 / 6 / 2e6)
    assert table["train_loss"].tolist() == [4.4] * 2  # not the mean over the whole run, 4.7
    assert table["learning_rate"].tolist() == [3e-4] * 2
    assert table["hidden_size"].tolist() == [64] * 2
    assert noted(table, "4 earlier checkpoints of the same runs are left out")
    assert load(tmp_path / "small" / "checkpoint-100")["status"].tolist() == ["running"]


CHART = (
    '"Step","gpt-s - val/loss","gpt-s - val/loss__MIN","gpt-s - val/loss__MAX",'
    '"a - b - val/loss","a - b - val/loss__MIN","a - b - val/loss__MAX"\n'
    '"0","6","6","6","6","6","6"\n"100","5","5","5","","",""\n"200","4","4","4","3.5","3.5","3.5"\n'
)


def test_a_chart_of_wandb_gives_a_run_per_column_and_charts_of_one_project_join(tmp_path):
    write(tmp_path / "val.csv", CHART)
    write(tmp_path / "train.csv", CHART.replace("val/loss", "train/loss"))
    table = load(tmp_path / "val.csv")
    assert table["run"].tolist() == ["gpt-s", "a - b"]
    assert table["loss"].tolist() == [A, B]
    assert table["steps"].tolist() == [200, 200]
    both = load([tmp_path / "val.csv", tmp_path / "train.csv"], curves=True)
    assert both["step"].tolist() == [100, 200, 200]
    assert both["train_loss"].tolist() == [5.5, 4.0, 4.75]


def test_the_table_of_runs_of_wandb_keeps_settings_and_leaves_out_who_and_when(tmp_path):
    path = write(
        tmp_path / "export.csv",
        '"Name","State","Notes","User","Tags","Created","Runtime","Sweep","n_params","lr","_step","val/loss"\n'
        '"s","finished","-","me","","2026-01-01","3600","","1000000","0.001","200","4.0"\n'
        '"l","crashed","-","me","","2026-01-02","7200","","4000000","0.002","150","3.5"\n',
    )
    table = load(path, {"params": "n_params"})
    assert table["status"].tolist() == ["finished", "crashed"]
    assert table["loss"].tolist() == [A, B]
    assert table["learning_rate"].tolist() == [1e-3, 2e-3]
    assert table["seconds"].tolist() == [3600, 7200]
    assert "Created" not in table
    assert table.ended().tolist() == [True, False]


def test_what_the_export_script_of_wandb_writes_is_read_without_running_it(tmp_path):
    cell = "\"{'val/loss': 4.0, 'x': nan, '_step': 200}\""
    path = write(tmp_path / "project.csv", f",summary,config,name\n0,{cell},\"{{'lr': 0.001, 'n': 1000000}}\",s-70M\n")
    table = load(path, {"params": "count_1_in_run"})
    assert (table["run"].tolist(), table["loss"].tolist(), table["params"].tolist()) == (["s-70M"], [A], [7e7])
    assert table["learning_rate"].tolist() == [1e-3]
    with pytest.raises(InputError, match=r"row 1, column summary: found .__import__"):
        load(write(path, "summary,config,name\n__import__('os').getcwd(),{},s\n"))


def test_the_folders_that_wandb_keeps_on_disk_give_settings_and_results(tmp_path):
    files = tmp_path / "wandb" / "run-20260101_000000-abc123" / "files"
    write(files / "wandb-summary.json", {"val/loss": A, "_step": 200, "_timestamp": 1.7e9, "_runtime": 60})
    write(
        files / "config.yaml",
        "wandb_version: 1\n_wandb:\n  value:\n    cli: 1\nn_params:\n  desc: null\n  value: 1000000\n",
    )
    (files.parent / "run-abc123.wandb").write_bytes(bytes(100))
    table = load(tmp_path / "wandb", {"params": "n_params"})
    assert {name: table[name].tolist() for name in table} == {
        "run": ["run-20260101_000000-abc123"],
        "params": [1e6],
        "loss": [A],
        "steps": [200.0],
    }
    assert noted(table, "_step, the Step of W&B's charts, is taken as the updates")


NANOGPT = """Overriding config with config/train_shakespeare_char.py:
n_layer = 6
Overriding: learning_rate = 0.001
tokens per iteration will be: 16,384
found vocab_size = 65 (inside data/shakespeare_char/meta.pkl)
number of parameters: 10.65M
step 0: train loss 4.2874, val loss 4.2823
iter 0: loss 4.2654, time 31337.57ms, mfu -100.00%
iter 10: loss 3.1461, time 24.31ms, mfu 17.90%
step 20: train loss 2.4, val loss 2.5
saving checkpoint to out
iter 20: loss 2.41, time 24.31ms, mfu 17.90%
"""


def test_lines_of_steps_of_nanogpt_give_d_from_the_tokens_of_an_iteration(tmp_path):
    table = load(write(tmp_path / "shakespeare.log", NANOGPT))
    assert table["run"].tolist() == ["shakespeare"]
    assert table["loss"].tolist() == [2.5]
    assert table["train_loss"].tolist() == [2.4]
    assert table["steps"].tolist() == [20]
    assert table["tokens"].tolist() == [20 * 16384]
    assert table["params_head"].tolist() == [10.65e6]  # it counts the tied head
    assert table["n_layer"].tolist() == [6]
    assert table["learning_rate"].tolist() == [1e-3]
    assert noted(table, "1 of 12 lines are no lines of steps")


NANOCHAT = """Parameter counts:
wte                     : 50,331,648
transformer_matrices    : 84,934,656
total                   : 185,597,952
Total batch size 524,288 => gradient accumulation steps: 1
Step 00000 | Validation bpb: 3.3013
step 00000/00100 (0.00%) | loss: 11.090355 | lrm: 1.00 | dt: 31000.00ms | tok/sec: 16,912 | mfu: 0.50
step 00099/00100 (99.00%) | loss: 3.912000 | lrm: 0.05 | dt: 355.00ms | tok/sec: 1,476,867 | mfu: 48.1
Step 00100 | Validation bpb: 1.2013
"""


def test_lines_of_steps_of_nanochat_give_its_counts_and_bits_per_byte(tmp_path):
    table = load(write(tmp_path / "d12" / "train.log", NANOCHAT))
    assert table["run"].tolist() == ["d12"]
    assert table["params"].tolist() == [84_934_656]
    assert table["params_total"].tolist() == [185_597_952]
    assert table["bits_per_byte"].tolist() == [1.2013]
    assert table["train_loss"].tolist() == [3.912]
    assert table["tokens"].tolist() == [100 * 524_288]
    assert table["status"].tolist() == ["done"]
    assert "loss" not in table


@pytest.mark.parametrize(
    "text",
    [
        "step:0/200 val_loss:10.8 train_time:0ms\nstep:200/200 val_loss:4.0 train_time:36000ms step_avg:180ms\n",
        "[2026-01-01 10:00:00,123][INFO] - step=100 loss=5.0 val_loss=5.1\n[2026-01-01 10:00:01,123][INFO] - step=200 "
        "loss=4.1 val_loss=4.0\n",
        "Epoch 1 | Step 100 | Loss: 5.0 | Val Loss: 5.1\nEpoch 2 | Step 200 | Loss: 4.1 | Val Loss: 4.0\n",
        " iteration      200/     200 | consumed samples:  100 | learning rate: 1.0E-04 | lm loss: 4.1E+00\n"
        " validation loss at iteration 200 | lm loss value: 4.0E+00 | lm loss PPL: 5.459815E+01 | \n",
    ],
    ids=["modded-nanogpt", "hydra", "bars", "megatron"],
)
def test_lines_of_steps_of_others_give_the_last_held_out_loss(tmp_path, text):
    table = load(write(tmp_path / "x.txt", text))
    assert table["loss"].tolist() == [4.0]
    assert table["steps"].tolist() == [200]


def test_steps_that_begin_again_are_refused(tmp_path):
    path = write(tmp_path / "x.log", "".join(f"epoch {e}, step {s}: loss 3.0\n" for e in (1, 2) for s in (1, 2, 3)))
    with pytest.raises(InputError, match="line 4: step 1 after step 3: the steps begin again"):
        load(path)


def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def field(number, kind, value):
    packed = varint(len(value)) + value if kind == 2 else value
    return varint(number << 3 | kind) + packed


def event(step, tag="", value=0.0, tensor=False):
    """A record of an event file: a scalar as simple_value, or as TensorFlow 2 writes it, in a tensor."""
    body = field(1, 1, struct.pack("<d", 1.7e9)) + field(2, 0, varint(step))
    if tag:
        number = field(2, 5, struct.pack("<f", value))
        if tensor:
            number = field(8, 2, field(1, 0, varint(1)) + field(4, 2, struct.pack("<f", value)))
        body += field(5, 2, field(1, 2, field(1, 2, tag.encode()) + number))
    else:
        body += field(3, 2, b"brain.Event:2")
    length = struct.pack("<Q", len(body))
    return length + struct.pack("<I", _checksum(length)) + body + bytes(4)


@pytest.mark.parametrize("tensor", [False, True])
def test_event_files_of_tensorboard_give_a_run_per_folder(tmp_path, tensor):
    for run, last in (("a", A), ("b", B)):
        records = [event(0), event(100, "train/loss", 5.0, tensor), event(200, "val/loss", last, tensor)]
        path = tmp_path / run / "events.out.tfevents.1700000000.host.1.0"
        path.parent.mkdir()
        path.write_bytes(b"".join(records) + (records[1][:-7] if run == "b" else b""))
    table = load(tmp_path)
    assert table["run"].tolist() == ["a", "b"]
    assert table["loss"].tolist() == [A, B]
    assert table["train_loss"].tolist() == [5.0, 5.0]
    assert noted(table, "bytes at its end are no whole record")


def test_the_checksum_is_that_of_tfrecords():
    """The first twelve bytes of every event file of TensorBoard: a record of 24 bytes."""
    assert struct.pack("<I", _checksum(struct.pack("<Q", 24))) == bytes([0xA3, 0x7F, 0x4B, 0x22])


def test_the_csv_and_json_of_tensorboard_take_run_and_tag_from_their_names(tmp_path):
    write(tmp_path / "run-d12-tag-val_loss.csv", f"Wall time,Step,Value\n1.7e9,100,5\n1.7e9,200,{A}\n")
    write(tmp_path / "run-d12-tag-train_loss.json", [[1.7e9, 100, 5.0], [1.7e9, 200, 3.9]])
    table = load(sorted(tmp_path.iterdir()))
    assert table["run"].tolist() == ["d12"]
    assert (table["loss"].tolist(), table["train_loss"].tolist()) == ([A], [3.9])


def test_the_file_store_of_mlflow_gives_its_runs(tmp_path):
    for run, last, status in (("s", A, 3), ("l", B, 4)):
        folder = tmp_path / "mlruns" / "0" / f"{run}0123"
        write(folder / "meta.yaml", f"run_id: {run}0123\nrun_name: {run}\nstatus: {status}\n")
        write(folder / "metrics" / "val" / "loss", f"1700000000000 5.0 100\n1700000001000 {last} 200\n")
        write(folder / "params" / "n_params", "1000000")
        write(folder / "tags" / "mlflow.user", "me")
    write(tmp_path / "mlruns" / "0" / "meta.yaml", "experiment_id: '0'\n")
    table = load(tmp_path / "mlruns", {"params": "n_params"})
    assert dict(zip(table["run"], table["loss"], strict=True)) == {"s": A, "l": B}
    assert dict(zip(table["run"], table["status"], strict=True)) == {"s": "finished", "l": "failed"}


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (
            "Start Time,Duration,Run ID,Name,Source Type,Source Name,User,Status,n_params,val_loss\n"
            "2026-01-01,1s,0,s,LOCAL,t.py,me,FINISHED,1e6,4.0\n2026-01-01,1s,1,l,LOCAL,t.py,me,FINISHED,4e6,3.5\n",
            ["s", "l"],
        ),
        (
            "run_id,experiment_id,status,artifact_uri,metrics.val_loss,params.n_params,tags.mlflow.runName\n"
            "0,0,FINISHED,x,4.0,1e6,s\n1,0,FINISHED,x,3.5,4e6,l\n",
            ["s", "l"],
        ),
        (
            "run_id,key,value,step,timestamp\n"
            "0,val_loss,5,100,1\n0,val_loss,4.0,200,1\n1,val_loss,5,100,1\n1,val_loss,3.5,200,1\n",
            ["0", "1"],
        ),
    ],
    ids=["page", "search_runs", "metrics"],
)
def test_the_csvs_of_mlflow_give_its_runs(tmp_path, text, runs):
    table = load(write(tmp_path / "runs.csv", text))
    assert table["run"].tolist() == runs
    assert table["loss"].tolist() == [A, B]


def test_results_of_lm_evaluation_harness_give_a_row_per_model(tmp_path):
    for step, accuracy in ((1000, 0.3), (2000, 0.4)):
        found = {"alias": "arc_easy", "acc,none": accuracy, "acc_stderr,none": 0.01, "acc_norm,none": 0.35}
        arguments = f"pretrained=EleutherAI/pythia-14m,revision=step{step},dtype=float"
        config = {"model": "hf", "model_args": arguments, "model_num_parameters": 14_067_712}
        value = {
            "results": {"arc_easy": found},
            "configs": {},
            "versions": {"arc_easy": 1.0},
            "n-shot": {"arc_easy": 0},
        }
        write(tmp_path / f"results_2026-01-0{step // 1000}.json", {**value, "config": config})
    table = load(tmp_path, {"accuracy": "arc_easy/acc"})
    assert table["run"].tolist() == ["EleutherAI/pythia-14m@step1000", "EleutherAI/pythia-14m@step2000"]
    assert table["accuracy"].tolist() == [0.3, 0.4]
    assert table["params_total"].tolist() == [14_067_712] * 2


ROWS = [{"run": "s", "params": 1e6, "tokens": 1e8, "loss": A}, {"run": "l", "params": 4e6, "tokens": 2e8, "loss": B}]


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        {"runs": ROWS, "version": 1},
        {"s": ROWS[0], "l": ROWS[1]},
        {name: [row[name] for row in ROWS] for name in ROWS[0]},
        {name: {str(i): row[name] for i, row in enumerate(ROWS)} for name in ROWS[0]},
        {"columns": list(ROWS[0]), "index": [0, 1], "data": [list(row.values()) for row in ROWS]},
    ],
    ids=["rows", "rows in a key", "by run", "columns", "columns of rows", "split"],
)
def test_tables_in_json_are_read_in_every_orientation(tmp_path, value):
    table = load(write(tmp_path / "runs.json", value))
    assert table["run"].tolist() == ["s", "l"]
    assert table["params"].tolist() == [1e6, 4e6]
    assert table["loss"].tolist() == [A, B]


def test_nested_json_lines_packed_by_gzip_become_columns_with_dots(tmp_path):
    lines = "\n".join(json.dumps({"name": r["run"], "config": {"N": r["params"]}, "loss": r["loss"]}) for r in ROWS)
    (tmp_path / "runs.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    table = load(tmp_path / "runs.jsonl.gz", {"params": "config.N", "run": "name"})
    assert table["params"].tolist() == [1e6, 4e6]


def test_json_lines_by_step_and_a_json_of_lists_are_curves(tmp_path):
    """A line that was cut, since the run was stopped while it wrote, ends a log."""
    lines = [{"step": s, "train_loss": 6 - s / 100, "val_loss": 6.1 - s / 100} for s in (100, 200)]
    write(tmp_path / "a" / "metrics.jsonl", "\n".join(map(json.dumps, lines)) + '\n{"step": 30')
    write(tmp_path / "b.json", {"config": {"n_params": 1e6}, "history": {"step": [100, 200], "val_loss": [5, B]}})
    table = load(tmp_path)
    assert dict(zip(table["run"], table["loss"], strict=True)) == pytest.approx({"a": 4.1, "b": B})
    assert noted(table, "metrics.jsonl: line 3, the last, is cut")
    path = write(tmp_path / "runs.jsonl", json.dumps(ROWS[0]) + '\n{"run": "l", "par')
    with pytest.raises(InputError, match="line 2, the last, is cut; correct or delete the line"):
        load(path)


def test_what_a_line_without_a_step_says_once_is_a_setting_of_its_run(tmp_path):
    for depth, last in ((4, A), (6, B)):
        lines = [
            {"event": "start", "config": {"model": {"n_layer": depth, "d_model": 64}}},
            {"event": "eval", "step": 100, "metrics": {"train": {"loss": 4.9}, "val": {"loss": 5}, "tokens_seen": 1e7}},
            {
                "event": "eval",
                "step": 200,
                "metrics": {"train": {"loss": 3}, "val": {"loss": last}, "tokens_seen": 2e7},
            },
        ]
        write(tmp_path / f"l{depth}.jsonl", "\n".join(map(json.dumps, lines)))
    with pytest.raises(
        InputError, match=r"params, which of a usual Transformer is 12.config.model.n_layer.config.model.d"
    ):
        load(tmp_path)["params"]
    table = load(tmp_path, {"params": "12*config.model.n_layer*config.model.d_model*config.model.d_model"})
    assert table["params"].tolist() == [12 * 4 * 64**2, 12 * 6 * 64**2]
    assert table["tokens"].tolist() == [2e7, 2e7]
    assert table["train_loss"].tolist() == [3, 3]


def test_a_packed_table_in_a_folder_is_found(tmp_path):
    (tmp_path / "runs.tsv.gz").write_bytes(
        gzip.compress(b"name\tparams\ttokens\tloss\na\t1e6\t2e7\t4\nb\t4e6\t2e7\t3.5\n")
    )
    assert load(tmp_path)["run"].tolist() == ["a", "b"]


def test_a_long_history_with_sizes_of_its_own_is_a_run_per_name(tmp_path):
    """A script's export of W&B: losses where they were logged, row numbers of pandas before it."""
    path = write(
        tmp_path / "history.csv",
        f",run_name,_step,tokens,params,train_loss,val_loss\n0,a,100,1e7,1e6,5,\n1,a,200,2e7,1e6,4.1,{A}\n"
        f"2,b,100,1e7,4e6,4.5,\n3,b,200,2e7,4e6,3.6,{B}\n",
    )
    table = load(path)
    assert {name: table[name].tolist() for name in ("run", "params", "tokens", "loss")} == {
        "run": ["a", "b"], "params": [1e6, 4e6], "tokens": [2e7, 2e7], "loss": [A, B],
    }  # fmt: skip


def test_a_batch_size_is_not_offered_as_the_size_of_a_model(tmp_path):
    write(tmp_path / "a" / "metrics.csv", "step,val_loss,batch_size\n100,5,64\n200,4,64\n")
    with pytest.raises(InputError, match="no column params, and the logs do not tell it; give a table of the runs too"):
        load(tmp_path)["params"]


def test_a_folder_of_csv_curves_takes_settings_from_names_of_runs(tmp_path):
    for n in (1e6, 4e6):
        write(tmp_path / f"params={n:.0f},lr=1e-3" / "log.csv", "step,tokens_seen,val_loss\n100,1e8,5\n200,2e8,4\n")
    table = load(tmp_path)
    assert table["params"].tolist() == [1e6, 4e6]
    assert table["tokens"].tolist() == [2e8, 2e8]


def test_n_and_d_that_a_log_tells_by_shape_and_batch_alone_are_offered_as_formulas_in_one_line(tmp_path):
    for version, depth in enumerate((2, 4)):
        folder = tmp_path / "lightning_logs" / f"version_{version}"
        write(folder / "hparams.yaml", f"n_layer: {depth}\nd_model: 64\nbatch_size: 32\nblock_size: 128\n")
        write(folder / "metrics.csv", "epoch,step,train_loss,val_loss\n0,50,5,\n0,100,,4\n")
    with pytest.raises(InputError) as error:
        load(tmp_path)["params"]
    (typed,) = re.findall(r"or load\(path, (\{.*\})\)", str(error.value))
    table = load(tmp_path, json.loads(typed))
    assert table["params"].tolist() == [12 * 2 * 64**2, 12 * 4 * 64**2]
    assert table["tokens"].tolist() == [100 * 32 * 128] * 2


def test_a_loss_that_does_not_say_whether_it_is_held_out_and_tokens_of_each_batch_are_not_taken_without_a_word(
    tmp_path,
):
    path = write(tmp_path / "log.csv", "iter,loss,num_tokens\n100,5,8192\n200,4,8192\n")
    table = load(path)
    assert table["loss"].tolist() == [A]
    assert noted(table, "the column loss does not say of which text it is: taken as held out")
    assert "tokens" not in table


def test_logs_of_one_run_that_contradict_each_other_are_said(tmp_path):
    for name, text in (("a.csv", CHART), ("b.csv", CHART.replace('"4","4","4"', '"4.2","4.2","4.2"'))):
        write(tmp_path / name, text)
    table = load(tmp_path)
    assert noted(table, "gpt-s: its 2 logs differ in loss; the last one counts")
    assert not noted(table, "a - b")


def test_a_curve_in_our_own_names_is_taken_as_it_stands(tmp_path):
    for text in ("step,lr,loss\n100,0.1,5\n200,0.1,4\n", "run,step,loss\na,100,5\na,200,4\n"):
        assert load(write(tmp_path / "curve.csv", text))["step"].tolist() == [100, 200]


def test_a_table_written_into_the_folder_of_its_logs_counts_no_run_twice(tmp_path):
    for run, last in (("a", A), ("b", B)):
        write(tmp_path / run / "log.csv", f"iter,val_loss\n100,5\n200,{last}\n")
    load(tmp_path).to_csv(tmp_path / "runs.csv")
    table = load(tmp_path)
    assert table["run"].tolist() == ["a", "b"]
    assert noted(table, "2 rows of tables tell of runs whose logs are here too: taken for what these do not say")


def test_a_chart_of_wandb_and_its_table_of_runs_tell_of_the_same_runs(tmp_path):
    """N and the settings from the one, the curve from the other; D along the curve from that of the whole run."""
    chart = write(tmp_path / "chart.csv", CHART)
    table = write(
        tmp_path / "runs.csv",
        "Name,State,Created,n_params,tokens_seen,_step,val/loss\n"
        "gpt-s,finished,2026,1e6,2e6,200,4.2\na - b,finished,2026,4e6,4e6,200,3.5\nother,finished,2026,9e6,4e6,200,3\n",
    )
    runs = load([chart, table], {"params": "n_params"})
    assert runs["run"].tolist() == ["gpt-s", "a - b", "other"]
    assert (runs["params"].tolist(), runs["loss"].tolist()) == ([1e6, 4e6, 9e6], [A, B, 3.0])  # the curve's, not 4.2
    curves = load([chart, table], {"params": "n_params"}, curves=True)
    assert curves["tokens"].tolist() == [1e6, 2e6, 4e6]
    assert curves["params"].tolist() == [1e6, 1e6, 4e6]


OFTEN = "Name,State,Created,n_params,tokens_seen,trainer/global_step"


@pytest.mark.parametrize(
    ("head", "more", "steps"),
    [
        (f"{OFTEN},_step", "2000,200", 2000),
        (OFTEN, "2000", 2000),
        (OFTEN.replace("trainer/global_step", "_step"), "200", 200),
        (OFTEN.replace(",trainer/global_step", ""), "", 200),
    ],
)
def test_d_of_a_chart_over_step_does_not_depend_on_how_often_a_run_logged(tmp_path, head, more, steps):
    """Step counts calls of the log, here one in ten updates; the tokens of the table are those of its end."""
    chart = write(tmp_path / "chart.csv", CHART)
    rows = "".join(f"{run},finished,2026,1e6,4e7{more and ','}{more}\n" for run in ("gpt-s", "a - b"))
    paths = [chart, write(tmp_path / "runs.csv", f"{head}\n{rows}")]
    table = load(paths, {"params": "n_params"})
    assert table["tokens"].tolist() == [4e7, 4e7]
    assert table["steps"].tolist() == [steps, steps]
    assert load(paths, {"params": "n_params"}, curves=True)["tokens"].tolist() == [2e7, 4e7, 4e7]
    assert noted(table, "counts calls of W&B's log") == (steps == 2000)
    assert noted(table, "is taken as the updates") == (steps == 200)
    if steps == 2000:
        assert table["batch_tokens"].tolist() == [2e4, 2e4]


def test_a_curve_that_ends_before_its_run_is_said(tmp_path):
    settings = write(tmp_path / "settings.csv", "Name,State,Created,tokens,_step\ngpt-s,finished,2026,4e7,400\n")
    table = load([write(tmp_path / "chart.csv", CHART), settings])
    assert table["tokens"][0] == 2e7
    assert noted(table, "the curve ends at another step than its table of runs tells")


def test_a_chart_says_that_its_step_counts_what_was_logged(tmp_path):
    words = "the Step of W&B's charts, is taken as the updates"
    assert noted(load(write(tmp_path / "a.csv", CHART)), words)
    assert not noted(load(write(tmp_path / "b.csv", CHART.replace("Step", "trainer/global_step"))), words)


@pytest.mark.parametrize("x", ["Relative Time (Process)", "tokens_seen"])
def test_a_chart_over_another_axis_ends_each_run_at_its_own_last_point_and_counts_no_updates(tmp_path, x):
    rows = '"0",6,6,6,6,6,6\n"1e6",5,5,5,5,5,5\n"2e6",4,4,4,,,\n'
    table = load(write(tmp_path / "chart.csv", CHART.partition("\n")[0].replace("Step", x) + "\n" + rows))
    assert table["loss"].tolist() == [4, 5]
    assert "steps" not in table
    assert noted(table, f"the chart is over {x}")
    assert not noted(table, "went on after")
    if x == "tokens_seen":
        assert table["tokens"].tolist() == [2e6, 1e6]


def test_a_batch_that_stands_in_every_row_of_a_history_gives_d(tmp_path):
    table = load(
        write(tmp_path / "h.csv", "run,step,batch_tokens,val_loss\na,1,512,5\na,9,512,4\nb,1,64,5\nb,9,64,4\n")
    )
    assert table["tokens"].tolist() == [9 * 512, 9 * 64]


def test_a_table_of_settings_that_names_none_of_the_runs_is_said(tmp_path):
    for run in ("a", "b"):
        write(tmp_path / "logs" / f"{run}.csv", "step,tokens_seen,val_loss\n100,1e6,5\n200,2e6,4\n")
    settings = write(tmp_path / "settings.csv", "run,n_params\nrun-a,1e6\nrun-b,4e6\n")
    said = "no row of settings.csv names a run of the logs (they are called logs/a, logs/b)"
    assert noted(load([tmp_path / "logs", settings], {"params": "n_params"}), said)
    write(settings, "run,n_params\na,1e6\nrun-b,4e6\n")
    assert not noted(load([tmp_path / "logs", settings], {"params": "n_params"}), said)


def test_the_folder_of_a_study_is_not_walked_as_logs(tmp_path):
    """Its checkpoints and histories would count as runs."""
    study = write(tmp_path / "studies" / "mine" / "study.json", {}).parent
    log = write(tmp_path / "a.csv", "step,tokens_seen,val_loss\n100,1e6,5\n200,2e6,4\n")
    for paths in ([study, study], [log, study], study.parent):
        with pytest.raises(InputError, match=r"mine: the folder of a study, which is read alone; scaling study export"):
            load(paths)


def test_settings_of_a_table_are_those_of_the_runs_in_a_folder_beside_it(tmp_path):
    for run, last in (("a", A), ("b", B)):
        write(tmp_path / "logs" / run / "log.csv", f"step,tokens_seen,val_loss\n100,1e6,5\n200,2e6,{last}\n")
    settings = write(tmp_path / "settings.csv", "run,n_params\na,1e6\nb,4e6\n")
    table = load([tmp_path / "logs", settings], {"params": "n_params"})
    assert (table["params"].tolist(), table["loss"].tolist()) == ([1e6, 4e6], [A, B])


def test_lines_of_all_runs_in_one_file_are_the_curves_of_each_in_whatever_order_they_came(tmp_path):
    """A column `run` does not make rows by step runs: no law is fitted to points of half a training."""
    lines = [
        {"run": run, "_step": step, "val": {"loss": last + 1 - step / 200}, "tokens_seen": 1e4 * step, "n_params": n}
        for step in (50, 200, 100)
        for run, last, n in (("s", A, 1e6), ("l", B, 4e6))
    ]
    path = write(tmp_path / "all.jsonl", "\n".join(map(json.dumps, lines)))
    table = load(path, {"params": "n_params"})
    assert {name: table[name].tolist() for name in ("run", "params", "tokens", "loss")} == {
        "run": ["s", "l"], "params": [1e6, 4e6], "tokens": [2e6, 2e6], "loss": [A, B],
    }  # fmt: skip


def test_a_run_whose_last_loss_is_no_number_has_diverged(tmp_path):
    table = load(write(tmp_path / "metrics.csv", "step,train_loss,val_loss\n100,5,5\n200,nan,\n300,nan,nan\n"))
    assert table["status"].tolist() == ["diverged"]
    assert noted(table, "went on after their last evaluation")


def test_tokens_between_logged_ones_are_in_proportion_and_perplexity_becomes_nats(tmp_path):
    text = "step,tokens_seen,val_ppl\n100,1e6,\n150,,54.598150033144236\n200,2e6,\n"
    table = load(write(tmp_path / "metrics.csv", text))
    assert table["tokens"].tolist() == [1.5e6]
    assert table["loss"].tolist() == pytest.approx([4.0])
    assert noted(table, "loss is taken as ln(val_ppl)")


def test_fit_takes_several_logs_with_n_and_d_given_in_one_command(tmp_path, capsys):
    """Logs drawn from L = (8.8e13 / N)^0.076 give back its exponent."""
    for n in (1e6, 2e6, 4e6, 8e6, 16e6):
        loss = (8.8e13 / n) ** 0.076
        head = f"tokens per iteration will be: 65,536\nnumber of parameters: {n / 1e6:.2f}M\n"
        lines = f"step 0: train loss 9.9, val loss 9.9\nstep 90000: train loss {loss:.6f}, val loss {loss:.6f}\n"
        write(tmp_path / f"{n:.0f}.log", head + lines)
    logs = sorted(map(str, tmp_path.glob("*.log")))
    with pytest.raises(SystemExit) as code:
        cli.main(["fit", "kaplan-n", *logs, "--columns", "params=params_head", "--json"])
    assert code.value.code == 0
    assert json.loads(capsys.readouterr().out)["alpha_N"] == pytest.approx(0.076, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.bin", bytes(1000), "binary, and no format that is known"),
        ("x.txt", b"nothing of this is a log\n", "no table and no log that is known; wanted tables as CSV"),
        ("x.json", b'{"a": 1', "neither JSON"),
        ("x.json", b'{"a": {"b": 2}}', "JSON, and no table in it"),
        ("x.json", b"[" * 100_000, "nested too deeply"),
        ("x.json", b"[" + b"9" * 5000 + b"]", "JSON, and no table in it"),
        ("x.json", b'[{"params": 1e6, "loss": 3, "loss": 4}]', "'loss' is there twice"),
        ("x.jsonl", b'{"loss": 1}\n{"loss": 2, "loss": 3}\n', "line 2: no JSON ('loss' is there twice)"),
        ("x.jsonl", b'{"loss": 1}\nloss\n{"loss": 2}\n', "line 2: no JSON"),
        ("x.csv.gz", gzip.compress(b"params,loss\n" * 1000, mtime=0)[:-9], "damaged as a .gz"),
        ("x.csv", b"params,loss\n" + b"1" * 200_000 + b",2\n", "field larger than field limit"),
        ("x.csv", "params,loss\n1,2\n".encode("utf-16"), "it looks like UTF-16"),
        ("x.log", b"x" * 3_000_000, "no table and no log"),
    ],
)
def test_a_hostile_file_ends_in_one_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        load(tmp_path / name)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


def test_a_file_without_an_end_is_not_read(tmp_path):
    with pytest.raises(InputError, match="a device or pipe"):
        load("/dev/zero")
    with pytest.raises(InputError, match="no log or table of runs among 1 files"):
        load(write(tmp_path / "notes" / "x.md", "# notes").parent)


def test_a_table_is_written_with_how_it_was_read(tmp_path, capsys):
    write(tmp_path / "val.csv", CHART)
    out = tmp_path / "runs.csv"
    with pytest.raises(SystemExit) as code:
        cli.main(["table", str(tmp_path / "val.csv"), "--columns", "tokens=524288*steps", "--out", str(out)])
    assert code.value.code == 0
    assert "2 runs read from W&B's CSV of a chart" in capsys.readouterr().out
    table = load(out)
    assert table["run"].tolist() == ["gpt-s", "a - b"]
    assert table["tokens"].tolist() == [200 * 524288] * 2
    assert math.isclose(table["loss"][1], B)


def test_a_folder_of_logs_has_a_page_with_its_runs(tmp_path, monkeypatch, capsys):
    for N, last in ((1e6, A), (4e6, B)):
        write(tmp_path / "logs" / f"params={N:.0f}" / "log.csv", f"step,tokens_seen,val_loss\n9,1e8,5\n19,2e8,{last}\n")
    monkeypatch.chdir(tmp_path / "logs")
    with pytest.raises(SystemExit) as code:
        cli.main(["report", ".", "--out", str(tmp_path / "page")])
    assert code.value.code == 0
    assert f"The page: {tmp_path / 'page' / 'index.html'}" in capsys.readouterr().out
    page = load(tmp_path / "page" / "runs.csv")
    assert page["params"].tolist() == [1e6, 4e6]
    assert page["loss"].tolist() == [A, B]
