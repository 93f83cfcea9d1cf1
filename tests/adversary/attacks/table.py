"""All rows of the table."""

from __future__ import annotations

from tests.adversary.attack import Attack
from tests.adversary.attacks import (
    batches,
    calls,
    consents,
    doors,
    items,
    questions,
    registry,
)

MODULES = (doors, calls, batches, items, consents, questions, registry)
ATTACKS: list[Attack] = [attack for module in MODULES for attack in module.ATTACKS]
