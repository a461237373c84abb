"""How numbers are written for a reader: counts with k, M and B, powers of ten, constants to the digits they deserve."""

import math
import re
from collections.abc import Callable, Mapping

SUFFIXES = ("", "k", "M", "B", "T")
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NORMAL = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")
MOST_DIGITS = 12  # of a number in a formula, and decimals of a constant
DECADES = 3.0  # ends of an interval further apart than this ratio are written to digits of their own
DECIMALS = 6  # of a constant below 1e-3, and until it holds a number beside it


def short(x: float) -> str:
    """A count to three digits: 1536 is 1.54k, 131072 is 131k, 1e9 is 1B, 1e21 is 1e21."""
    if not math.isfinite(x):
        return "–"
    x = float(f"{x:.3g}")
    if abs(x) >= 1000 ** len(SUFFIXES):
        return typed(x, 3)
    k = max(math.floor(math.log10(abs(x))) // 3, 0) if x else 0
    return f"{x / 1000**k:.4g}{SUFFIXES[k]}"


def compute(C: float) -> str:
    """Compute to three digits, with its unit: 3.55e19 FLOP."""
    return f"{typed(C, 3)} FLOP"


def typed(x: float, digits: int = 6) -> str:
    """A number to so many digits as one types it: 1e9, 8.64e19, 0.5, 3320."""
    return f"{float(f'{x:.{digits}g}'):.6g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def count_of(text: str) -> float:
    """The number that a count stands for: 70M is 7e7, 1.5e9 itself.

    Raises:
        ValueError: no number.
    """
    power = "".join(SUFFIXES).upper().find(text[-1:].upper()) + 1 if text[-1:].isalpha() else 0
    return float(text[:-1]) * 1000.0**power if power else float(text)


def ten(x: float, digits: int = 2) -> str:
    """As a power of ten: 8.8e13 is 8.8×10¹³, 1e12 is 10¹²."""
    mantissa, exponent = f"{x:.{digits - 1}e}".split("e")
    power = f"10{str(int(exponent)).translate(SUPERSCRIPT)}"
    return power if float(mantissa) == 1 else minus(f"{mantissa}×{power}")


def plain(x: float, digits: int = 3) -> str:
    """To so many significant digits, as a power of ten only where the number is very large or small."""
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    if math.isnan(x):
        return "–"
    if x == 0:
        return "0"
    if not 1e-3 <= abs(x) < 1e5:
        return ten(x, digits)
    return minus(f"{x:.{max(digits - 1 - math.floor(math.log10(abs(x))), 0)}f}")


def constant(value: float, low: float, high: float, beside: float | None = None) -> tuple[str, str]:
    """A constant to the digits that its interval supports, and the interval: ("0.354", "0.345 to 0.363").

    Args:
        beside: a number that the interval, as it is written, holds if it does: further decimals until it is so.
    """
    width = (high - low) / 2
    even = math.isfinite(width) and width > 0 and (low < 0 or low * DECADES > high)
    if not even:
        return plain(value, 2), f"{plain(low, 2)} to {plain(high, 2)}"
    exponent = math.floor(math.log10(width))
    digits = -exponent + (
        width / 10**exponent < 3
    )  # decimals that show one digit of the half width, two if it begins low
    if (largest := max(abs(low), abs(high))) >= 1e5 or (digits > DECIMALS and largest < 1e-3):
        top = math.floor(math.log10(max(abs(low), abs(high), abs(value))))
        figures = max(2, top + digits + 1)
        return ten(value, figures), f"{ten(low, figures)} to {ten(high, figures)}"
    decimals = min(max(digits, 0), MOST_DIGITS)
    while beside is not None and decimals < DECIMALS and not _as_written(low, high, beside, decimals):
        decimals += 1
    return minus(f"{value:.{decimals}f}"), minus(f"{low:.{decimals}f} to {high:.{decimals}f}")


def _as_written(low: float, high: float, beside: float, decimals: int) -> bool:
    """Whether an interval of so many decimals holds a number if the interval itself does."""
    return (round(low, decimals) <= beside <= round(high, decimals)) == (low <= beside <= high)


def value_of(text: str) -> float:
    """The number that `plain` or `ten` wrote: 8.8×10¹³ is 8.8e13."""
    found = re.fullmatch(r"([−\d.]+)(?:×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?|10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text)
    if not found:
        raise ValueError(f"{text!r} is no number that was written here")
    mantissa, power, alone = (part and part.translate(NORMAL) for part in found.groups())
    return float(f"{mantissa or 1}e{power or alone or 0}")


def together(numbers: Mapping[str, float], off: Callable[[dict[str, float]], float], allowed: float) -> dict[str, str]:
    """The numbers of one formula to the fewest digits that leave what it says as it was.

    Constants that were estimated together are known together far better than each by itself: to the digits of its own
    interval each, their formula would be another law.

    Args:
        off: how far the formula is off with such numbers, as far as they are written.
        allowed: how far it may be.
    """

    def written(digits: Mapping[str, int]) -> dict[str, str]:
        return {name: plain(number, digits[name]) for name, number in numbers.items()}

    def right(digits: Mapping[str, int]) -> bool:
        return off({name: value_of(text) for name, text in written(digits).items()}) <= allowed

    digits = dict.fromkeys(numbers, 2)
    while not right(digits) and max(digits.values()) < MOST_DIGITS:
        digits = {name: n + 1 for name, n in digits.items()}
    for name in numbers:  # all of them needed one more, not each
        while digits[name] > 1 and right({**digits, name: digits[name] - 1}):
            digits[name] -= 1
    return written(digits)


def percent(share: float, *, sign: bool = False) -> str:
    """A share to two digits: 0.00312 is 0.31 %, 0.124 is 12 %."""
    if not math.isfinite(share):
        return "–"
    size = abs(100 * share)
    decimals = 0 if size >= 9.95 else 1 if size >= 0.995 else 2
    return minus(f"{100 * share:{'+' if sign else ''}.{decimals}f} %")


def minus(text: str) -> str:
    """Hyphens that stand for a minus, before a number and after no letter or digit, as minus signs."""
    return re.sub(r"(?<![\w)])-(?=\.?\d)", "−", text)


def plural(n: int, one: str, more: str) -> str:
    """`one` for a single thing, `more` for any other number of them."""
    return one if n == 1 else more
