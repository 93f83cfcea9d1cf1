"""Whether the service filed a provider's attestations where they belong.

A receipt must name the very borrower. Each entry must be in the log, name the place of that
borrower, and say which attestation it replaces. That roots follow from entries is what auditors
compute anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from credproof.attestation.package import parse_package
from credproof.base.errors import DataLoss, Malformed, VerificationFailed
from credproof.base.vrf import Output
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import Entry
from credproof.records.outbox import Item
from credproof.verification.answer import ENTRY_ATTESTATION, Logged
from credproof.verification.filing import change_of, index_of, verify_element
from credproof.verification.inclusion import included
from credproof.verification.trust import Trust


@dataclass(frozen=True, slots=True)
class NotFiled:
    """An attestation that is not filed as its receipt says, by the receipt's log index, and why."""

    log_index: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FilingReport:
    """How many receipts were looked at, and what is wrong, in the order of the log."""

    checked: int
    faults: tuple[NotFiled, ...]


def denied(item: Item) -> NotFiled:
    """The service does not show what it gave this receipt for."""
    told = "the service does not show it, and gave a receipt for it"
    return NotFiled(item.log_index or 0, "RECEIPT_DENIED", told)


def fault_of(
    item: Item,
    before: Item | None,
    logged: Logged,
    output: Output,
    checkpoint: VerifiedCheckpoint,
    trust: Trust,
) -> NotFiled | None:
    """What `verify_filed` finds wrong, if anything."""
    try:
        verify_filed(item, before, logged, output, checkpoint, trust)
    except (Malformed, VerificationFailed) as error:
        return NotFiled(item.log_index or 0, error.reason, error.message)
    return None


def require_own(item: Item, token_id: bytes, sub: bytes) -> None:
    """Accept a receipt as that of this very item.

    Raises:
        DataLoss: `MISFILED`.
    """
    if (token_id, sub) != (item.token_id, item.sub):
        raise DataLoss("MISFILED", "the service filed an attestation under another borrower")


def verify_filed(
    item: Item,
    before: Item | None,
    logged: Logged,
    output: Output,
    checkpoint: VerifiedCheckpoint,
    trust: Trust,
) -> None:
    """Accept that an attestation is filed as it must be; `before` is the one of `seq` - 1.

    The first of a chain replaces nothing. One before that is not known here may be replaced,
    or have been withdrawn; no other one may be replaced.

    Raises:
        Malformed, VerificationFailed: `ENTRY_CHANGED`, `OTHER_ENTRY`, `OTHER_INDEX`,
            `NOT_REPLACED`, `BAD_DLEQ_PROOF`.
    """
    entry = _included(logged, checkpoint)
    if (entry.kind, entry.object) != (ENTRY_ATTESTATION, item.token_id):
        raise VerificationFailed("OTHER_ENTRY", "log entry is about something else")
    verify_element(trust.bundle.directory_key, item.sub, output)
    change = change_of(entry)
    place = index_of(output.element, trust.schema(item.schema_id).digest)
    if change is None or change.index != place:
        raise VerificationFailed(
            "OTHER_INDEX", "the entry files an attestation of yours somewhere else"
        )
    if change.leaves not in _replaceable(item, before):
        message = "the entry does not replace the attestation before it, or another one"
        raise VerificationFailed("NOT_REPLACED", message)


def _replaceable(item: Item, before: Item | None) -> tuple[bytes | None, ...]:
    """What the entry of an item may say that it replaces."""
    if before is not None:
        return (before.token_id if before.state == "accepted" else None,)
    return (None,) if item.seq == 1 else (None, parse_package(item.package).prev)


def _included(logged: Logged, checkpoint: VerifiedCheckpoint) -> Entry:
    try:
        return included(logged, checkpoint)
    except VerificationFailed as error:
        if error.reason != "BAD_INCLUSION_PROOF":
            raise
        told = "what the service shows is not the entry that was signed"
        raise VerificationFailed("ENTRY_CHANGED", told) from error
