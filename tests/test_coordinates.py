"""The coordinate check tells a parametrisation that keeps activations alike over widths from one that does not."""

import numpy as np
import pytest

from scaling import coordinates
from scaling.config import OptimConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer

WIDTHS = (32, 64, 128)


def ladder(name: str, stream: np.ndarray) -> coordinates.Moved:
    optim = OptimConfig(learning_rate=2e-3, schedule="constant", warmup=0.0)
    runs = []
    for width in WIDTHS:
        base = {} if name == "standard" else {"base_width": 64}
        model = transformer(width, 1, n_vocab=32, n_ctx=16, tied=False, parametrization=name, **base)
        runs.append(RunConfig(model, tokens=coordinates.UPDATES * 4 * 16, batch=4, optim=optim))
    return coordinates.moved(runs, stream[:15_000], stream[15_000:], separator=0)


@pytest.mark.slow
def test_activations_move_alike_at_all_widths_under_mup_and_more_in_wider_models_under_the_standard(stream):
    standard, mup = ladder("standard", stream), ladder("mup", stream)
    assert mup.places == ("tokens", "layer 1", "logits")
    assert mup.distance.shape == (coordinates.UPDATES, 3, 3)
    np.testing.assert_allclose(mup.distance[:, 1], standard.distance[:, 1], rtol=1e-5)  # the base: one model
    assert np.abs(mup.slopes[-1, :-1]).max() < 0.05
    assert mup.slopes[-1, -1] < 0.05  # below it in so narrow models: what is not aligned has not yet sunk in the rest
    assert standard.slopes[-1].min() > 0.3
    said = coordinates.Check(2e-3, (standard, mup)).text()
    assert "mup, depth 1, widths 32, 64, 128" in said


def test_a_slope_is_that_of_a_power_of_the_width():
    widths = (16, 32, 64, 128)
    distance = np.array(widths, float)[None, :, None] ** np.array([0.5, 0.0])
    moved = coordinates.Moved("standard", 1, ("layer 1", "logits"), widths, distance)
    np.testing.assert_allclose(moved.slopes, [[0.5, 0.0]], atol=1e-12)


def test_a_study_without_three_widths_is_refused_in_one_line():
    study = Study("mine", "?", (RunConfig(transformer(16, 1), tokens=2**16),))
    with pytest.raises(InputError, match="'mine' has no 3 Transformers of one depth") as error:
        coordinates.check(study, say=pytest.fail)
    assert "\n" not in str(error.value)
