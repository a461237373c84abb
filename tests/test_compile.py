"""Programs for TPUs that are not there."""

import dataclasses
import importlib.util
import json
import math

import pytest

from configs import pod
from scaling import chips, cli, compile, counts, mesh_axes, sharding
from scaling.config import RunConfig
from scaling.ladder import transformer

# As a TPU's compiler writes them: a loop of 5 layers, in it one of 4 times 2 exchanges, and a gather in two fusions.
HLO = """HloModule jit_update

%cond (p: (s32[], bf16[4])) -> pred[] {
  %five = s32[]{:T(128)} constant(5)
  %p = (s32[]{:T(128)}, bf16[4]{0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %five), direction=LT
}

%inner_cond (q: (bf16[4], u32[])) -> pred[] {
  %eight = u32[]{:T(128)} constant(8)
  %q = (bf16[4]{0}, u32[]{:T(128)}) parameter(0)
  %j = u32[]{:T(128)} get-tuple-element(%q), index=1
  ROOT %lt.1 = pred[]{:T(512)} compare(%j, %eight), direction=LT
}

%inner (r: (bf16[4], u32[])) -> (bf16[4], u32[]) {
  %two = u32[]{:T(128)} constant(2)
  %r = (bf16[4]{0}, u32[]{:T(128)}) parameter(0)
  %x = bf16[4]{0} get-tuple-element(%r), index=0
  %k = u32[]{:T(128)} get-tuple-element(%r), index=1
  %s = (bf16[4]{0}, bf16[4]{0}, u32[]{:S(2)}) collective-permute-start(%x), channel_id=3, source_target_pairs={{0,1}}
  %d = bf16[4]{0} collective-permute-done(%s)
  %s.1 = (bf16[4]{0}, bf16[4]{0}, u32[]{:S(2)}) collective-permute-start(%d), channel_id=4, source_target_pairs={{0,1}}
  %d.1 = bf16[4]{0} collective-permute-done(%s.1)
  %next = u32[]{:T(128)} add(%k, %two)
  ROOT %t = (bf16[4]{0}, u32[]{:T(128)}) tuple(%d.1, %next)
}

%body (u: (s32[], bf16[4])) -> (s32[], bf16[4]) {
  %one = s32[]{:T(128)} constant(1)
  %u = (s32[]{:T(128)}, bf16[4]{0}) parameter(0)
  %l = s32[]{:T(128)} get-tuple-element(%u), index=0
  %w = (bf16[4]{0}, u32[]) while(%u), condition=%inner_cond, body=%inner
  %ar = f32[16]{0} all-reduce(%l), channel_id=7, replica_groups=mesh['axis_0'=2,'axis_1'=8] {'axis_1'}, to_apply=%add
  %up = s32[]{:T(128)} add(%l, %one)
  ROOT %v = (s32[]{:T(128)}, bf16[4]{0}) tuple(%up, %w)
}

%fusion.a (z: bf16[8]) -> bf16[64] {
  ROOT %ag = bf16[64]{0} all-gather(%z), channel_id=9, replica_groups=[2,8]<=[16], dimensions={0}
}

%fusion.b (z: bf16[8]) -> bf16[64] {
  ROOT %ag.1 = bf16[64]{0} all-gather(%z), channel_id=9, replica_groups=[2,8]<=[16], dimensions={0}
}

ENTRY %main (a: s32[]) -> s32[] {
  %f = bf16[64]{0} fusion(%a), kind=kCustom, calls=%fusion.a
  %g = bf16[64]{0} fusion(%a), kind=kCustom, calls=%fusion.b
  %rs = f32[2]{0} reduce-scatter(%a), channel_id=11, replica_groups={{0,1,2,3},{4,5,6,7}}, dimensions={0}
  ROOT %loop = (s32[]{:T(128)}, bf16[4]{0}) while(%a), condition=%cond, body=%body
}
"""


def test_communication_is_counted_as_often_as_it_happens():
    found = {c.kind: (c.count, c.moved) for c in compile.collectives(HLO)}
    assert found == {
        "collective-permute": (5 * 4 * 2, 5 * 4 * 2 * 8),
        "all-reduce": (5, 5 * 2 * 7 / 8 * 64),
        "all-gather": (1, 7 / 8 * 128),
        "reduce-scatter": (1, 3 * 8),
    }


# As two slices are written: 64 sums of 1024 bytes through the hosts, told of when they are sent and received.
BETWEEN = """HloModule jit_update

ENTRY %main (a: bf16[512]) -> bf16[512] {
  %t = token[] after-all(), frontend_attributes={MegascaleRendezvousKeyName="all-reduce.5_0"}
  %s = (bf16[512]{0}, u32[], token[]) send(%a, %t), channel_id=10, is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_host_transfer_rendezvous="all-reduce.5_0",_xla_megascale_transfer_type="ALL_REDUCE"}
  %r = (bf16[512]{0}, u32[], token[]) recv(%t), channel_id=9, is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime",_xla_host_transfer_rendezvous="all-reduce.5_0",_xla_megascale_transfer_type="ALL_REDUCE"}
  %d = (bf16[512]{0}, token[]) recv-done(%r), channel_id=9, is_host_transfer=true, frontend_attributes={_xla_host_transfer_handler_name="xla_megascale_runtime"}
  ROOT %ar = bf16[512]{0} all-reduce(%a), channel_id=11, replica_groups={{0,1},{2,3}}, to_apply=%add
}
"""  # noqa: E501


def test_what_goes_between_slices_is_counted_apart_and_once():
    for slices, share in ((2, 1), (4, 1.5)):
        found = {(c.kind, c.slow): (c.count, c.moved) for c in compile.collectives(BETWEEN, slices)}
        assert found == {("all-reduce", True): (1, share * 1024), ("all-reduce", False): (1, 1024)}


def test_mfu_counts_causal_attention_half_and_the_head():
    model = transformer(768, 12, d_head=64, n_vocab=50_304, n_ctx=1024)
    wanted = 6 * model.N + 6 * 12 * 1024 * 768 + 6 * 50_304 * 768
    assert counts.mfu_flops_per_token(model) == wanted
    assert counts.flops_per_token(model)["flops_total"] - wanted == 6 * 12 * 1024 * 768  # the other half of the square


def test_an_estimate_lies_between_communication_hidden_and_not():
    one = compile.Program(
        accelerator="2 x v5e:2x2",
        devices=8,
        rate=197e12,
        links=1.8e11,
        network=1e9,
        mesh="data=2,fsdp=4",
        attention="XLA",
        arguments=2**30,
        temporaries=2**30,
        peak=2**31,
        hbm=2**34,
        xla_flops=math.nan,
        model_flops=1.97e13,
        done_flops=3.94e13,
        collectives=(compile.Collective("all-gather", 1, 1.8e10),),
        compile_seconds=1.0,
    )
    assert one.seconds() == pytest.approx((0.2, 0.3))
    assert one.mfu() == pytest.approx((1 / 2, 1 / 3))
    assert one.fits
    assert not dataclasses.replace(one, peak=2**35).fits
    assert "2 x v5e:2x2, 8 devices as data=2,fsdp=4" in one.text()
    assert "MFU 50% to 33%" in one.text()
    slow = compile.Collective("all-reduce", 1, 1e9, slow=True)  # a second, at the network's speed
    far = dataclasses.replace(one, collectives=(*one.collectives, slow))
    assert far.seconds() == pytest.approx((1.0, 1.3))
    assert "between slices, at 1 GB/s" in far.text()
    assert "time unknown: no peak, links or network" in dataclasses.replace(far, network=math.nan).text()
    assert dataclasses.replace(one, network=math.nan).seconds() == one.seconds()


def test_meshes_that_are_tried_divide_the_model():
    run = pod.run("13b")
    for n in (16, 64, 256):
        found = compile.meshes(run, n)
        assert {"fsdp": n} in [{k: v for k, v in sizes.items() if v > 1} for sizes in found]
        for sizes in found:
            assert math.prod(sizes.values()) == n
            sharding.check([run], sizes)


def test_paper_sizes_are_what_they_are_called():
    sizes = {name: pod.run(name).model.N for name in pod.SHAPES}
    assert sizes["768"] == 768
    for name, value in (("393k", 393e3), ("85m", 85e6), ("302m", 302e6), ("1.5b", 1.5e9), ("13b", 12.6e9)):
        assert sizes[name] == pytest.approx(value, rel=0.02)
    assert sizes["175b"] == pytest.approx(175e9, rel=0.01)
    assert {name: pod.run(name).optim.optimizer for name in ("302m", "1.5b")} == {"302m": "adam", "1.5b": "adafactor"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--topology", "v9:4x4"], "no chip 'v9'"),
        (["--topology", "v5p:4x8x9"], "no such slice of v5p"),
        (["--topology", "h100:8"], "only TPUs can be compiled for"),
        (["--topology", "v5e:4x4", "--mesh", "fsdp=3"], "does not divide over fsdp=3"),
        (["--topology", "h100", "--smallest"], "--smallest wants a chip, one of v4, v5e"),
        (["--topology", "v5e:4x4", "--set", "size=2t"], "size=2t: wanted one of 768"),
    ],
)
def test_what_cannot_be_compiled_is_told_in_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["compile", "configs/pod.py", *words])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no libtpu: nothing is compiled for TPUs")
def test_the_step_is_compiled_for_a_slice_that_is_not_there():
    """It gathers each weight forward and backward in bfloat16, and scatters its gradient."""
    model = transformer(256, 5, d_head=64, n_vocab=1024, n_ctx=256)
    run = RunConfig(model, tokens=32 * 256 * 100, batch=32, dtype="bfloat16", remat="matmuls")
    found = compile.program([run], chips.accelerator("v5e:4x4"), sharding.parse("fsdp=16"))
    assert found.fits
    state = 12 * counts.params(model)["params_total"] / 16
    assert state < found.arguments < 1.3 * state + 2**20
    weights = 2 * (model.N + model.n_vocab * model.d_model) * 15 / 16
    assert 3 * weights < found.received() < 5 * weights
    assert found.received(slow=True) == 0
    json.dumps(found.to_dict())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no libtpu: nothing is compiled for TPUs")
def test_a_program_too_large_for_its_chips_is_told_so():
    model = transformer(2048, 4, d_head=128, n_vocab=32_768, n_ctx=2048)
    run = RunConfig(model, tokens=64 * 2048 * 10, batch=64)
    found = compile.program([run], chips.accelerator("v5e:1x1"), sharding.parse("fsdp=1"))
    assert not found.fits


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="no libtpu: nothing is compiled for TPUs")
def test_slices_of_chips_of_two_devices_are_joined_by_data_and_talk_once_an_update():
    """Only gradients go between them."""
    run, slice = pod.run("768"), chips.accelerator("tpu7x:1x1x1")
    sizes = sharding.parse(mesh_axes.show(mesh_axes.usual(2 * slice.devices, 2)))
    found = compile.program([run], slice, sizes, slices=2)
    assert (found.accelerator, found.devices, found.mesh) == ("2 x tpu7x:1x1x1", 4, "data=2,fsdp=2")
    assert found.hbm == 96 * chips.GiB
    total = counts.params(run.model)["params_total"]
    assert 2 * total / 2 < found.received(slow=True) < 2 * 4 * total  # bfloat16 or float32, and some vectors whole
