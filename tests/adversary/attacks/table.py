"""All rows of the table."""

from __future__ import annotations

from tests.adversary.attack import Attack
from tests.adversary.attacks import (
    batches,
    calls,
    consents,
    doors,
    items,
    pauses,
    questions,
    registry,
    streams,
    withdrawals,
)

MODULES = (
    *(doors, calls, batches, streams, items),
    *(consents, pauses, questions, registry, withdrawals),
)
ATTACKS: list[Attack] = [attack for module in MODULES for attack in module.ATTACKS]
