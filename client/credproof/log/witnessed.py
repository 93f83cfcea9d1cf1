"""What witnesses say of one checkpoint: whether those that a quorum asks for have cosigned it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from credproof.log.cosignature import cosigned
from credproof.log.quorum import Quorum


@dataclass(frozen=True, slots=True)
class Witnessed:
    """`none`: no quorum is asked for; `pending`: it is not reached; `reached`.

    `times` says who cosigned and when, in whole seconds, by the witness's name in the quorum file.
    `since` is the oldest time that the quorum needs: what cosigned before it could be left out.
    `reached_at` is when it was reached: what cosigned later could be left out.
    """

    state: Literal["none", "pending", "reached"] = "none"
    times: Mapping[str, int] = field(default_factory=dict)
    since: int | None = None
    reached_at: int | None = None


def witnessed(note: bytes, quorum: Quorum) -> Witnessed:
    """What the witnesses of a quorum say of a checkpoint; the log's signature is not looked at.

    Raises:
        Malformed, VerificationFailed: as `cosigned`, whatever the quorum needs.
    """
    times = cosigned(note, quorum.keys)
    if quorum.needed is None:
        return Witnessed()
    named = {w.name: times[w.key] for w in quorum.witnesses.values() if w.key in times}
    if not quorum.is_reached(times):
        return Witnessed("pending", named)
    moments = sorted(set(times.values()))
    since = next(
        at
        for at in reversed(moments)
        if quorum.is_reached([key for key, time in times.items() if time >= at])
    )
    reached_at = next(
        at
        for at in moments
        if quorum.is_reached([key for key, time in times.items() if time <= at])
    )
    return Witnessed("reached", named, since, reached_at)
