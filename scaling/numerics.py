"""Settings of JAX that come from the environment: those that change what a run is are ours, the others are recorded.

`pinned` holds while anything is trained. What `settings` finds changes last bits: it is recorded with a run, beside the
machine and the versions, and processes that train together must have it alike.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

# Other random numbers, and other types than a config says. All are context managers of JAX.
PINNED: dict[str, Any] = {
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,  # else the numbers depend on how they are spread over devices
    "enable_x64": False,
    "numpy_dtype_promotion": "standard",
}
OFFSET = "random_seed_offset"  # is added to every seed; not a context manager
# Settings that change bits, and what they are where nobody sets them.
BITS: dict[str, Any] = {
    "default_matmul_precision": None,
    "disable_jit": False,
    "disable_most_optimizations": False,
    "optimization_level": "UNKNOWN",
    "exec_time_optimization_effort": 0.0,
    "softmax_custom_jvp": False,
    "use_direct_linearize": True,
    "allow_f16_reductions": True,
}
ENVIRONMENT = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
FAST_MATH = ("fast_math", "fast_min_max")  # in a flag's name: code that takes no number for infinite or NaN
NO_BITS = ("--xla_dump", "--xla_force_host_platform_device_count")


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """While this lasts, and in this thread, JAX is as runs are defined, whatever the environment says."""
    import jax

    with contextlib.ExitStack() as held:
        for name, value in PINNED.items():
            held.enter_context(getattr(jax, name)(value))
        if offset := jax.config.values.get(f"jax_{OFFSET}", 0):
            jax.config.update(f"jax_{OFFSET}", 0)
            held.callback(jax.config.update, f"jax_{OFFSET}", offset)
        yield


def without_fast_math() -> None:
    """Takes fast mathematics out of XLA_FLAGS, under which a loss that is no number may pass for one.

    Before JAX is imported.
    """
    if "XLA_FLAGS" in os.environ:
        flags = os.environ["XLA_FLAGS"].split()
        os.environ["XLA_FLAGS"] = " ".join(flag for flag in flags if not _fast(flag))


def overruled() -> list[str]:
    """What this environment asks for and training does not take, as NAME=VALUE."""
    ours = {f"JAX_{name.upper()}": str(value).lower() for name, value in {**PINNED, OFFSET: 0}.items()}
    found = [f"{name}={value}" for name in ours if (value := os.environ.get(name)) and _plain(value) != ours[name]]
    return found + [f"XLA_FLAGS={flag}" for flag in os.environ.get("XLA_FLAGS", "").split() if _fast(flag)]


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The device's kind, and whatever else may change the last bits of a result and is not as by default.

    Args:
      environment: os.environ as it was before we set anything in it.
    """
    import jax

    return {"device": jax.devices()[0].device_kind, **ambient(environment)}


def ambient(environment: Mapping[str, str]) -> dict[str, str]:
    """The same without the device, which is not touched."""
    import jax

    found: dict[str, str] = {}
    for name, usual in BITS.items():
        value = jax.config.values.get(f"jax_{name}", usual)
        if value != usual:
            found[f"jax_{name}"] = str(value)
    for name in ENVIRONMENT:
        flags = [f for f in environment.get(name, "").split() if not _fast(f) and not f.startswith(NO_BITS)]
        if flags:
            found[name] = " ".join(flags)
    return found


def _fast(flag: str) -> bool:
    return any(word in flag.partition("=")[0] for word in FAST_MATH)


def _plain(value: str) -> str:
    """A setting's text as Python's own: JAX takes 1, yes and on for true."""
    text = value.lower()
    return "true" if text in ("1", "y", "yes", "t", "on") else "false" if text in ("0", "n", "no", "f", "off") else text
