"""Damage of stored data that calls meet: logged at once, and kept for health to tell."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable
from typing import Final

from credproof.base.errors import DataLoss

NEXT: Final = "credproof check names what is damaged, and what a witness showed against the log"
_log = logging.getLogger("credproof.damage")


class DamageMet:
    """What was damaged of all that calls needed since the start."""

    def __init__(self) -> None:
        self.reason: str | None = None
        """The reason of what was met last; None while all was sound."""

    def note(self, method: str, results: Iterable[object]) -> None:
        """Log what is damage among the results of a call: a line per reason, with its items.

        The call itself may succeed, and only some of its items fail.
        """
        met = Counter(item.reason for item in results if isinstance(item, DataLoss))
        for reason, items in met.items():
            self.reason = reason
            line = {"method": method, "reason": reason, "damaged": items, "next": NEXT}
            _log.error(json.dumps(line))
