"""Random changes to JSON values: the same in every run."""

from __future__ import annotations

import random
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2**53 - 1, "", "x" * 300, "\x00", "2026-01-01"),
    *([], {}, [[]], {"a": 1}, "A" * 22, "A" * 43, ["FEW_SOURCES"]),
)


def mutated(chance: random.Random, value: Any) -> Any:
    """The value with one member, item or the whole replaced."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        return {**value, key: mutated(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.7:
        at = chance.randrange(len(value))
        return [*value[:at], mutated(chance, value[at]), *value[at + 1 :]]
    return chance.choice(VALUES)
