"""What a program that knows studies and models made of a question: asked once, in a process of its own, and kept.

Such a program is named and not imported, since it knows what reads its answer, and JAX.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from scaling import checked, own_code
from scaling.checked import Field
from scaling.errors import InputError

Answer = TypeVar("Answer")


def answered(
    source: str, program: str, words: tuple[str, ...], kept: Path, understood: Callable[[Field], Answer | None]
) -> Answer:
    """What `program` answered, or answers now.

    Args:
        source: that wants to know.
        program: a module that is given `words` and prints a JSON object, {"refused": ...} where it cannot.
        kept: the file of the answer.
        understood: reads an answer; None where what it names is not there, so that it is asked again.

    Raises:
        InputError: it refused, or its process ended without an answer.
    """
    found = _before(kept, understood)
    if found is None:
        done = subprocess.run(
            own_code.command(program, *words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
        try:
            told = json.loads(done.stdout)
        except ValueError:
            raise InputError(f"{source}: its process ended with exit code {done.returncode}") from None
        if "refused" in told:
            raise InputError(f"{source}: {told['refused']}")
        checked.write(kept, told)
        found = _before(kept, understood)
        assert found is not None
    return found


def _before(kept: Path, understood: Callable[[Field], Answer | None]) -> Answer | None:
    try:
        told = checked.read(kept)
        found = understood(told)
        told.sealed()
    except (FileNotFoundError, checked.Damaged):
        return None
    return found
