"""Neural scaling laws, measured: from text to trained ladders of models, and their records for `analysis`."""

import os
import sys

__version__ = "0.1.0"  # the only place: the package's metadata are made from it

if (
    sys.argv  # none where Python is part of another program
    and not sys.flags.safe_path
    and (sys.argv[0] == "-m" or os.path.basename(sys.argv[0]) in ("scaling", "scaling.exe"))
):
    # `python -m scaling` has the current folder searched first, and the command its own: a random.py there would run.
    _first = sys.path.pop(0)
    if os.path.realpath(_first) == os.path.dirname(os.path.dirname(os.path.realpath(__file__))):  # our own checkout
        _python = os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "lib-dynload")
        sys.path.sort(key=lambda path: path not in _python)
        sys.path.insert(sum(path in _python for path in sys.path), _first)
