"""A mesh changes where numbers are, not the numbers."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest
from conftest import QUICKLY, ROOT
from jax.sharding import PartitionSpec as P

from scaling import kinds, optim, sharding, step, train
from scaling.config import OptimConfig, RunConfig
from scaling.errors import InputError
from scaling.ladder import gpt2, llama, lstm, transformer, universal
from scaling.models import loss

MODEL = transformer(256, 2, n_vocab=512, n_ctx=16)
LLAMA = llama(256, 2, n_kv_head=4, n_vocab=512, n_ctx=16, qk_norm=True)
ROUTED = transformer(256, 2, n_vocab=512, n_ctx=16, kind="routed", experts=4, top_k=2)
RUN = RunConfig(MODEL, tokens=8 * 16, batch=8)
CUBE = {"run": 1, "data": 2, "fsdp": 2, "expert": 1, "tensor": 2}
LOSS_OF_3_STEPS, LOSS_OF_50_STEPS = 1e-6, 1e-5  # relative differences seen: 1.2e-7 and 2.1e-7


def on_meshes(
    n_runs: int, *meshes: str, kind: str = "transformer", logits: int = loss.LOGITS, devices: int = 8
) -> dict:
    """The curves of the same pack on each mesh of virtual devices."""
    return on_devices(devices, "tests.on_meshes", kind, str(n_runs), str(logits), *meshes)


def on_devices(n: int, module: str, *words: str) -> dict:
    """What a module prints as JSON, on n virtual devices."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT,
        env=os.environ
        | {
            "JAX_NUM_CPU_DEVICES": str(n),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": QUICKLY,
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "rematerialization" not in done.stderr  # XLA found no way but to have a whole tensor everywhere
    return json.loads(done.stdout)


def assert_one_curve(found: dict) -> None:
    one = np.array(found["one"]["train_loss"])
    assert len(one) == 50
    for mesh, curves in found.items():
        loss = np.array(curves["train_loss"])
        np.testing.assert_allclose(loss[:3], one[:3], rtol=LOSS_OF_3_STEPS, err_msg=mesh)
        np.testing.assert_allclose(loss, one, rtol=LOSS_OF_50_STEPS, err_msg=mesh)
        for name in ("grad_norm", "eval_loss"):
            np.testing.assert_allclose(curves[name], found["one"][name], rtol=LOSS_OF_50_STEPS, err_msg=mesh)


def test_a_pack_on_the_run_axis_and_within_has_the_losses_of_one_device():
    """On 16 devices, its loss in chunks: 16 on one device, 2 on the mesh."""
    assert_one_curve(on_meshes(2, "one", "run=2,data=2,fsdp=2,tensor=2", logits=512, devices=16))


@pytest.mark.slow
def test_a_llama_on_all_axes_has_the_losses_of_one_device():
    """Grouped queries, gate and up side by side, and a loss that log Z has a part in."""
    assert_one_curve(on_meshes(2, "one", "run=2,fsdp=2,tensor=2", kind="llama"))


def test_the_gradient_of_a_loss_in_chunks_is_added_up_over_devices_once_and_not_in_each_chunk():
    for mesh, found in on_devices(8, "tests.pieces_on_meshes", "losses", "data=8", "data=2,fsdp=2,tensor=2").items():
        assert found["in chunks"] == found["at once"] > 0, mesh
        assert found["in chunks, error"] < 2e-6, mesh
        assert found["at once, error"] < 2e-6, mesh


def test_a_kernel_on_each_device_gives_what_one_device_gives():
    """Sequences, heads and runs apart; and a pack of two runs where the axis `run` has room for eight."""
    for mesh, error in on_devices(8, "tests.pieces_on_meshes", "attention", "run=2,data=2,tensor=2", "run=8").items():
        assert error < 2e-5, mesh


@pytest.mark.slow
def test_every_axis_alone_and_all_together_give_the_losses_of_one_device():
    assert_one_curve(on_meshes(1, "one", "data=8", "fsdp=8", "tensor=8", "data=2,fsdp=2,tensor=2"))


@pytest.mark.slow
def test_muon_and_a_head_of_its_own_on_all_axes_have_the_losses_of_one_device():
    assert_one_curve(on_meshes(2, "one", "run=2,fsdp=2,tensor=2", kind="muon"))


@pytest.mark.slow
def test_an_lstm_on_all_axes_but_tensor_has_the_losses_of_one_device():
    assert_one_curve(on_meshes(2, "one", "run=2,data=2,fsdp=2", kind="lstm"))


def test_experts_apart_have_the_losses_of_one_device():
    """Tokens travel to the devices of their experts and back, and which find no slot does not depend on the mesh."""
    assert_one_curve(on_meshes(1, "one", "data=2,expert=2,tensor=2", kind="routed"))


@pytest.mark.slow
def test_experts_on_all_axes_have_the_losses_of_one_device():
    assert_one_curve(on_meshes(2, "one", "run=2,fsdp=2,expert=2", "run=2,expert=4", kind="hash"))


def abstract(run: RunConfig, n: int = 1) -> step.TrainState:
    return jax.eval_shape(step.over_runs(step.init_state, run, (0,)), step.Hyper.of((run,) * n))


@pytest.mark.parametrize("optimizer", ["adam", "adafactor", "muon"])
@pytest.mark.parametrize("model", [MODEL, universal(256, 2, reuse=2, n_ctx=16), lstm(256, 2, n_ctx=16), LLAMA, ROUTED])
def test_every_weight_of_the_model_and_all_that_an_optimiser_keeps_of_it_is_covered(model, optimizer):
    run = dataclasses.replace(RUN, model=model, optim=OptimConfig(optimizer=optimizer))
    state = abstract(run)
    for name, leaf in state.params.items():
        assert len(sharding.axes(name)) == leaf.ndim - 1, name
    specs = sharding.specs(state, CUBE, state.params, lanes=True)
    leaves = jax.tree.leaves(state)
    for leaf, spec in zip(leaves, jax.tree.leaves(specs, is_leaf=lambda x: isinstance(x, P)), strict=True):
        assert len(spec) <= leaf.ndim
        for n, axis in zip(leaf.shape, spec, strict=False):
            assert axis is None or n % CUBE[axis] == 0
    if model.kind == "lstm":
        assert specs.params["w_input"] == specs.params["w_recur"] == P("run", None, None, "fsdp", None)
        return
    if model == ROUTED:
        assert specs.params["w_expert_up"] == P("run", None, "expert", "fsdp", "tensor")
        assert specs.params["w_expert_down"] == P("run", None, "expert", "tensor", "fsdp")
        assert specs.params["w_router"] == P("run", None, "fsdp", None)
        return
    if model == LLAMA:
        assert specs.params["w_q"] == P("run", None, "fsdp", "tensor")
        assert specs.params["w_kv"] == P("run", None, None, "fsdp", "tensor")
        assert specs.params["w_gate"] == specs.params["w_up"] == P("run", None, "fsdp", "tensor")
        assert specs.params["w_head"] == specs.params["w_embed"] == P("run", "tensor", "fsdp")
        return
    assert specs.params["w_qkv"] == P("run", None, None, "fsdp", "tensor")
    assert specs.params["w_down"] == P("run", None, "tensor", "fsdp")
    assert specs.params["b_down"] == P("run", None, None)
    assert specs.step == P("run")


def test_the_shares_of_eight_devices_add_up_to_little_more_than_the_model():
    """What is on every device are vectors and positions."""
    state = abstract(RUN)
    specs = sharding.specs(state, CUBE, state.params, lanes=True)
    cut = [
        leaf.size / np.prod([CUBE[axis] for axis in spec if axis])
        for leaf, spec in zip(
            jax.tree.leaves(state), jax.tree.leaves(specs, is_leaf=lambda x: isinstance(x, P)), strict=True
        )
    ]
    assert sum(cut) < 1.05 / 4 * sum(leaf.size for leaf in jax.tree.leaves(state))


def test_the_statistics_of_adafactor_lie_along_the_dimension_that_remains():
    run = dataclasses.replace(RUN, optim=OptimConfig(optimizer="adafactor"))
    state = abstract(run)
    found = {}
    for path, spec in jax.tree_util.tree_leaves_with_path(
        sharding.specs(state.opt_state, CUBE, state.params, lanes=True), is_leaf=lambda x: isinstance(x, P)
    ):
        names = [getattr(key, "name", getattr(key, "key", None)) for key in path]
        found[names[-2], names[-1]] = spec
    # The larger of (d, f) = (256, 1024) is averaged away in a row statistic, the smaller in a column's.
    assert found["v_row", "w_up"] == P("run", None, "fsdp")
    assert found["v_col", "w_up"] == P("run", None, "tensor")
    assert found["v_row", "w_down"] == P("run", None, "fsdp")
    assert found["v_col", "w_down"] == P("run", None, "tensor")
    assert found["v_row", "w_embed"] == P("run", "fsdp")
    assert found["v_col", "w_embed"] == P("run", "tensor")
    assert found["v", "b_up"] == P("run", None, "tensor")
    assert found["v_row", "b_up"] == P("run")


def test_the_momentum_of_muon_lies_as_its_matrix_does():
    state = abstract(dataclasses.replace(RUN, optim=OptimConfig(optimizer="muon")))
    specs = sharding.specs(state, CUBE, state.params, lanes=True)
    momentum = optax.tree.get(specs.opt_state[1][0], "mu")
    assert set(momentum) == {"w_qkv", "w_out", "w_up", "w_down"}
    assert all(lies == specs.params[name] for name, lies in momentum.items())


def test_no_rule_is_for_a_weight_that_no_model_has():
    grouped = dataclasses.replace(LLAMA, bias=True)
    routed = dataclasses.replace(grouped, kind="routed", experts=2)
    others = (dataclasses.replace(routed, routing="hash"), dataclasses.replace(gpt2(32, 1), kind="reward"))
    models = (MODEL, gpt2(32, 1), LLAMA, grouped, lstm(32, 1), routed, *others)
    assert set().union(
        *(abstract(dataclasses.replace(RUN, model=m, tokens=8 * m.n_ctx)).params for m in models)
    ) == set(kinds.axes())


@pytest.mark.parametrize("model", [MODEL, LLAMA, lstm(256, 2, n_ctx=16)])
def test_weights_that_an_optimiser_takes_layer_by_layer_have_a_layer_each(model):
    for name, leaf in abstract(dataclasses.replace(RUN, model=model)).params.items():
        assert sharding.stacked(name) == (leaf.shape[1] == model.n_layer), name


def test_groups_that_a_mesh_would_split_are_refused_in_one_line():
    with pytest.raises(InputError, match=r"model.n_kv_head=4 does not divide over tensor=8") as error:
        sharding.check([dataclasses.replace(RUN, model=LLAMA)], {"tensor": 8})
    assert "\n" not in str(error.value)


def test_a_weight_without_a_rule_is_named():
    with pytest.raises(ValueError, match="'w_new' has no rule"):
        optim.adafactor(OptimConfig()).init({"w_new": np.zeros((2, 2))})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data=0", "--mesh 'data=0': wanted sizes of run, data, fsdp, expert, tensor"),
        ("model=2", "such as data=2,fsdp=4"),
        ("", "wanted sizes"),
    ],
)
def test_a_mesh_that_is_none_is_told_in_one_line(text, words):
    with pytest.raises(InputError, match=words) as error:
        sharding.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"fsdp": 3}, "model.d_model=256 does not divide over fsdp=3; the nearest model.d_model that does is 255"),
        ({"tensor": 3}, "model.n_head=16 does not divide over tensor=3"),
        (
            {"run": 2},
            "runs in a pack=1 does not divide over run=2; the nearest number of runs in a pack that does is 2",
        ),
        ({"data": 4, "fsdp": 4}, "batch=8 sequences do not divide over data x fsdp = 16; use a multiple of 16"),
    ],
)
def test_a_mesh_that_does_not_divide_is_told_in_one_line(sizes, words):
    with pytest.raises(InputError, match=words) as error:
        sharding.check([RUN], sizes)
    assert "\n" not in str(error.value)


def test_tensor_parts_of_an_lstm_are_refused_in_one_line():
    with pytest.raises(
        InputError, match=r"--mesh fsdp=2,tensor=2: tensor has nothing to cut in an LSTM; use run"
    ) as error:
        sharding.check([dataclasses.replace(RUN, model=lstm(256, 2, n_ctx=16))], {"fsdp": 2, "tensor": 2})
    assert "\n" not in str(error.value)
    sharding.check([dataclasses.replace(RUN, model=lstm(256, 2, n_ctx=16))], {"fsdp": 2, "data": 2})


def test_parts_of_a_batch_must_divide_over_the_mesh_too():
    with pytest.raises(InputError, match="accumulate"):
        sharding.check([dataclasses.replace(RUN, accumulate=4)], {"data": 4})


def test_a_mesh_needs_as_many_devices_as_it_has():
    with pytest.raises(InputError, match=r"--mesh data=2,fsdp=3 is for 6 devices, and there are 1; .* such as data=1"):
        sharding.make({"data": 2, "fsdp": 3}, jax.devices()[:1])


class Device:
    """As much of a device as its place in a mesh needs."""

    platform = device_kind = "cpu"
    process_index = 0

    def __init__(self, id: int, slice_index: int):
        self.id, self.slice_index = id, slice_index


class Chip:
    """The same of a chip of a v5p: its place in the torus."""

    platform, device_kind, core_on_chip, process_index = "tpu", "TPU v5", 0, 0

    def __init__(self, id: int, *coords: int):
        self.id, self.coords = id, coords


def test_an_axis_may_take_a_part_of_a_side_of_the_torus():
    chips = [Chip(id, *coords) for id, coords in enumerate(np.ndindex(4, 4, 4))]
    mesh = sharding.make({"fsdp": 8, "expert": 8}, chips)
    assert {name: n for name, n in mesh.shape.items() if n > 1} == {"fsdp": 8, "expert": 8}
    assert {chip.id for chip in mesh.devices.flat} == set(range(64))


def test_slices_are_bridged_by_data_and_not_by_what_talks_more():
    devices = [Device(i, i // 4) for i in range(8)]
    mesh = sharding.make({"data": 2, "fsdp": 4}, devices)
    slices = np.vectorize(lambda device: device.slice_index)(mesh.devices).reshape(2, 4)
    assert (slices == [[0] * 4, [1] * 4]).all()
    with pytest.raises(InputError, match="over 2 slices: data, run or fsdp must be a multiple of 2"):
        sharding.make({"tensor": 8}, devices)


@pytest.mark.slow
def test_a_mesh_of_one_device_gives_the_losses_of_none(tiny, stream, tmp_path):
    plain = train.train([tiny], stream[:15_000], stream[15_000:], tmp_path / "plain", separator=0)
    mesh = sharding.make({}, jax.devices()[:1])
    meshed = train.train([tiny], stream[:15_000], stream[15_000:], tmp_path / "meshed", separator=0, mesh=mesh)
    for name in ("train_loss", "grad_norm", "eval_loss"):
        np.testing.assert_allclose(meshed[name], plain[name], rtol=1e-6)
