"""Money in words: whole minor units of a currency, written with its decimal point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_DIGITS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("XAG", "XAU", "XBA", "XBB", "XBC", "XBD", "XDR", "XPD", "XPT"), 0),
    **dict.fromkeys(("XSU", "XTS", "XUA"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
"""Digits after the point where they are not two.

ISO 4217, list one, which SIX publishes as the standard's maintenance agency. What has no minor unit
there (`N.A.`: metals, units of account, tests) is counted in whole units.
"""


def money_text(amount: int, currency: str) -> str:
    """An amount of minor units as people write it: 5000000 TWD is `50,000.00 TWD`."""
    digits = _DIGITS.get(currency, 2)
    sign, (whole, rest) = "-" if amount < 0 else "", divmod(abs(amount), 10**digits)
    point = f".{rest:0{digits}d}" if digits else ""
    return f"{sign}{whole:,}{point} {currency}"
