"""What witnesses say of an audited log, printed: how far they cosigned, and what waits for them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from credproof.auditor import Auditor
from credproof.base.encoding import Json, time_text
from credproof.cli.output import out
from credproof.log.audit import AuditReport
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.witnessed import Lag, Witnessed, lag
from credproof.verification.report import witness_report, witness_text

NO_WITNESSES: Final[Mapping[str, Json]] = {"witnessed": None, "unwitnessed": None}
"""As JSON, where the log or the service is told to be wrong instead."""


@dataclass(frozen=True, slots=True)
class WitnessLook:
    """The newest checkpoint that reached the quorum, None before the first; what waits too long.

    `asked` says whether a quorum is in force at all.
    """

    newest: tuple[VerifiedCheckpoint, Witnessed] | None
    lag: Lag | None
    asked: bool


def look_at_witnesses(auditor: Auditor, report: AuditReport) -> WitnessLook:
    """Keep what witnesses cosigned last of the log that was just audited.

    Raises:
        DataLoss: `LOG_FORKED`, `LOG_BEHIND`: the service was shown another log by a witness.
        VerificationFailed: as `Auditor.witnessed`.
    """
    asked = auditor.trust.quorum.needed is not None
    found = auditor.witnessed(report.checkpoint)
    if not asked:
        return WitnessLook(found, None, asked)
    size = 0 if found is None else found[0].tree_size
    begun = auditor.trust.bundle.issued_at if found is None else 0
    with auditor.index() as index:
        waits = lag(size, report.checkpoint.tree_size, index.time, begun, int(time.time()))
    return WitnessLook(found, waits, asked)


def print_witnesses(look: WitnessLook) -> None:
    """How far witnesses have cosigned, and which entries have waited too long for them."""
    if look.newest is None:
        out.print(f"Not shown:   witnesses ({'pending' if look.asked else 'none'})")
    else:
        size, told = look.newest[0].tree_size, witness_text(look.newest[1])
        out.print(f"Witnessed:   {size} entries, by {told}", markup=False)
    if look.lag is not None:
        where = f"entries {look.lag.first} to {look.lag.last}: ask the operator and witnesses why"
        since = time_text(look.lag.since)
        out.print(f"             not cosigned since {since}: {where}", markup=False)


def witnesses_json(look: WitnessLook) -> dict[str, Json]:
    """The same as JSON; times are whole seconds."""
    told = dict(NO_WITNESSES)
    if look.newest is not None:
        told["witnessed"] = {"size": look.newest[0].tree_size, **witness_report(look.newest[1])}
    if look.lag is not None:
        first, last, since = look.lag.first, look.lag.last, look.lag.since
        told["unwitnessed"] = {"first": first, "last": last, "since": since}
    return told
