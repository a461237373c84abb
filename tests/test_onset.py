"""When a model begins to use its context, and what is said of runs that differ in their positions."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import findings
from analysis.findings import positions
from analysis.onset import GAIN, onset, onsets
from analysis.page import answer_sections
from analysis.table import Table
from scaling.errors import InputError

TOKENS = 2.0 ** np.arange(10, 21)


@given(st.floats(1e3, 1e6), st.floats(0.05, 3))
def test_the_onset_is_where_later_positions_come_to_lie_below_the_second(at, speed):
    """The gain grows with ln(tokens) and passes GAIN at `at`: whatever the evaluations, that is found."""
    near = 4.0 - 0.1 * np.log(TOKENS)
    far = near - GAIN - speed * np.log(TOKENS / at)
    found = onset(TOKENS, near, far)
    assert found == pytest.approx(max(at, TOKENS[0]), rel=1e-6)


def test_a_model_that_never_uses_its_context_has_no_onset():
    assert math.isnan(onset(TOKENS, np.full(11, 4.0), np.full(11, 3.95)))


def test_a_jump_at_one_evaluation_is_no_onset():
    gain = np.where(TOKENS > 2**17, 0.5, 0.0)
    jump = np.where(TOKENS == 2**12, 1.0, 0.0)
    assert onset(TOKENS, 4 + jump + gain, np.full(11, 4.0)) == onset(TOKENS, 4 + gain, np.full(11, 4.0)) > 2**17


def test_a_loss_that_is_not_a_number_at_the_end_is_no_onset():
    assert math.isnan(onset([1, 2, 4], [4, 4, 4], [3, 3, math.nan]))
    assert onset([1, 2, 4], [4, 4, 4], [math.nan, 3, 3]) == pytest.approx(2)


def row(**changes: Any) -> dict[str, Any]:
    base = {"run": "", "status": "done", "kind": "transformer", "params": 6144, "n_ctx": 64, "n_layer": 2,
            "positions": "rotary", "rotary_base": 1e4, "position_scale": math.nan, "d_head": 16, "batch_tokens": 256,
            "learning_rate": 1e-2, "seed": 0, "tokens": 2**21, "loss": 3.5, "onset": 1e5}  # fmt: skip
    return base | changes


LEARNED: dict[str, Any] = {"positions": "learned", "rotary_base": math.nan, "position_scale": 1.0}


def compared() -> Table:
    """Two sizes with rotary and learned positions; at one rate of three learned ones are worth a look."""
    rows = []
    for N, faster in ((6144, 1), (24_576, 2)):
        rows += [row(params=N, onset=1e5 / faster, loss=3.5, seed=seed) for seed in (0, 1)]
        rows += [
            row(params=N, learning_rate=rate, loss=loss, onset=at, **LEARNED)
            for rate, loss, at in ((5e-3, 4.2, math.nan), (1e-2, 3.85, 8e5 / faster), (2e-2, 4.0, math.nan))
        ]
    rows.append(row(params=24_576, **LEARNED | {"position_scale": 4.0}, loss=4.0, onset=math.nan))
    return Table.from_rows([one | {"run": str(i)} for i, one in enumerate(rows)])


def test_schemes_are_compared_at_their_best_rates():
    found = positions.find(compared())
    assert found
    assert found.schemes == ("rotary", "learned", "learned × 4")
    (setting,) = found.settings
    assert [cell.onset for cell in found.of(setting, "learned")] == pytest.approx([8e5, 4e5])
    assert {cell.learning_rate for cell in found.of(setting, "learned")} == {1e-2}
    assert [cell.seeds for cell in found.of(setting, "rotary")] == [2, 2]
    assert [*found.changes(setting, "learned").values()] == pytest.approx([0.1, 0.1])
    text = " ".join(found.sentences())
    assert "rotary after 50k to 100k tokens; learned after 400k to 800k tokens; learned × 4 never, at 1 size" in text
    assert "learned +10 %, +10 %; learned × 4 +14 %" in text
    assert "| 64 | 256 | 16 | learned × 4 | 24,576 | 2.1M | 0.0100 | 4.0000 | over 2.1M | 1, 1 |" in found.markdown()


def test_a_study_of_positions_says_so_first_and_fits_no_laws():
    found = findings.find(compared())
    assert found.answers.positions
    assert "differ in their kind of positions" in found.answers.no_laws
    page = answer_sections.content(found, None)
    assert "When models begin to use their context" in page
    assert 'id="figure-onset"' in page
    assert found.to_dict()["positions"]["cells"][0]["scheme"] == "learned"


def test_models_of_one_scheme_are_no_study_of_positions():
    table = compared()
    assert positions.find(table.where(table["positions"] == "rotary", "another")) is None
    assert positions.find(Table.from_rows([row()])) is None
    assert positions.find(Table.from_columns({"params": [1e5], "loss": [3.0]})) is None


def test_onsets_are_of_finished_transformers_with_a_context_to_use():
    rows = [row(), row(onset=math.nan), row(status="diverged"), row(n_ctx=8, onset=math.nan), row(positions="")]
    found = onsets(Table.from_rows([one | {"run": str(i)} for i, one in enumerate(rows)]))
    assert found["run"].tolist() == ["0", "1"]
    with pytest.raises(InputError, match="no column positions"):
        onsets(Table.from_columns({"params": [1e5], "n_ctx": [64], "loss": [3.0]}))
