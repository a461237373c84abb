"""Neural scaling laws, measured: from text to trained ladders of models, and their records for `analysis`."""

import os
import sys

__version__ = "0.1.0"  # the only place: the package's metadata are made from it

# `python -m scaling` has the current folder searched first, and the command its own: a random.py there would run.
_begun = sys.argv[0] if sys.argv and not sys.flags.safe_path else ""
if _begun == "-m" or os.path.basename(_begun) in ("scaling", "scaling.exe"):
    _first = os.path.realpath(sys.path[0])
    if os.path.isdir(_first) and (_begun == "-m" or _first == os.path.dirname(os.path.realpath(_begun))):
        del sys.path[0]
    if _first == os.path.dirname(os.path.dirname(os.path.realpath(__file__))):  # our own checkout
        _python = os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "lib-dynload")
        sys.path.sort(key=lambda path: path not in _python)
        sys.path.insert(sum(path in _python for path in sys.path), _first)
