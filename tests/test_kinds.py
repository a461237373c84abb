"""Kinds of model: what each says of itself, and a new one that is made as docs/extending.md says."""

import functools
import importlib.util
import math
import re
import subprocess
import sys
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from scaling import counts, kinds, sharding, step
from scaling.config import ModelConfig, OptimConfig, RunConfig
from scaling.errors import InputError
from scaling.models import model as models

FIELDS: dict[str, Any] = {"d_model": 8, "n_layer": 2, "n_head": 1, "d_attn": 8, "d_ff": 16, "n_vocab": 32, "n_ctx": 10}
QUICK = {"xla_backend_optimization_level": 0}  # programs that run once


@pytest.fixture
def convolution(tmp_path, monkeypatch) -> ModelConfig:
    """The page's own kind, registered."""
    (code,) = re.findall(
        r"```python\n(\"\"\"Tokens that.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL
    )
    path = tmp_path / "convolution.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location("convolution", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(kinds.KINDS, "convolution", module.Convolution())
    return ModelConfig(kind="convolution", tied=False, dropout=0.1, z_loss=1e-3, softcap=10.0, **FIELDS)


def test_the_kind_of_the_page_is_counted_as_it_is_allocated(convolution):
    allocated = jax.eval_shape(lambda: models.init(convolution, jax.random.key(0)))
    size = {name: math.prod(leaf.shape) for name, leaf in allocated.items()}
    matrices = sum(n for name, n in size.items() if name[:2] == "w_" and name not in ("w_embed", "w_head"))
    assert counts.params(convolution)["params"] == convolution.N == matrices
    assert counts.params(convolution)["params_total"] == sum(size.values())
    for name, leaf in allocated.items():
        assert len(sharding.axes(name)) == leaf.ndim
        assert sharding.stacked(name) == (leaf.shape[0] == convolution.n_layer)


def test_the_kind_of_the_page_sees_its_past_alone_and_learns(convolution):
    run = RunConfig(convolution, tokens=240, batch=3, optim=OptimConfig(1e-2, schedule="constant", warmup=0.0))
    hyper = jax.tree.map(lambda leaf: leaf[0], step.Hyper.of((run,)))
    tokens = jnp.asarray(np.random.default_rng(3).integers(0, 32, (3, 11)))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def trained(hyper):
        return step.train_steps(run, hyper, step.init_state(run, hyper), jnp.broadcast_to(tokens, (8, 3, 11)), 8)

    state, found = trained(hyper)
    assert float(found["train_loss"][0]) == pytest.approx(math.log(32), abs=0.1)
    assert float(found["train_loss"][-1]) < float(found["train_loss"][0]) - 0.1
    apply = jax.jit(functools.partial(models.apply, convolution), compiler_options=QUICK)
    before, after = (apply(state.params, tokens[:, :10].at[:, 4].add(n)) for n in (0, 1))
    moved = jnp.abs(after - before).max(-1)
    assert not moved[:, :4].any()
    assert (moved[:, 4:8] > 0).all()


def test_the_kind_of_the_page_refuses_what_it_does_not_know(convolution):
    refused: list[tuple[dict[str, Any], str]] = [
        ({"qk_norm": True}, "model.qk_norm=True with model.kind=convolution: it says nothing of a convolution"),
        ({"n_head": 2}, "a convolution has no attention; use n_head=1"),
        ({"n_layer": 0}, "model.n_layer=0 must be positive"),
    ]
    for wrong, words in refused:
        with pytest.raises(InputError, match=words):
            ModelConfig(**cast(Any, FIELDS | wrong), kind="convolution")
    run = RunConfig(convolution, tokens=240, batch=3)
    with pytest.raises(InputError, match="tensor has nothing to cut in a convolution"):
        sharding.check([run], {"tensor": 2})
    with pytest.raises(InputError, match=r"remat=layers with model.kind=convolution"):
        RunConfig(convolution, tokens=240, batch=3, remat="layers")


def test_kinds_that_share_the_name_of_a_weight_mean_the_same_dimensions():
    for kind in kinds.KINDS.values():
        assert kind.axes.items() <= kinds.axes().items()


def test_what_kinds_are_is_known_without_jax():
    code = (
        "import sys; from scaling import kinds, counts, ladder; ladder.llama(32, 1).N; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
