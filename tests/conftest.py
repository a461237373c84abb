"""What several test files share."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with other groups' run tables and the English corpora, beside the project's root; optional."""
    if not (SHARED / "reference_runs").is_dir():
        pytest.skip("no ../shared beside the project: reference tables and corpora not tested")
    return SHARED


@pytest.fixture(scope="session")
def papers() -> dict:
    """Published constants: {paper: {constant: {value, units, equation, ...}}}."""
    return json.loads((ROOT / "tests" / "reference_constants.json").read_text())
