"""What witnesses say of one checkpoint: whether those that a quorum asks for have cosigned it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from credproof.base.limits import WITNESS_LAG_S
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


@dataclass(frozen=True, slots=True)
class Lag:
    """Entries `first` to `last` wait for witnesses, since this time in whole seconds."""

    first: int
    last: int
    since: int


def lag(
    witnessed_size: int, size: int, time_of: Callable[[int], int | None], begun: int, now: int
) -> Lag | None:
    """Which entries of a log of this size have waited longer than they should.

    `time_of` gives the time of an entry, `begun` is when the quorum began to be asked for, at the
    earliest.
    """
    if size <= witnessed_size or (logged := time_of(witnessed_size)) is None:
        return None
    since = max(logged, begun)
    return Lag(witnessed_size, size - 1, since) if now - since > WITNESS_LAG_S else None
