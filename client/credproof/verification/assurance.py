"""Assurance of identity: enough matching checks, over independent channels, from enough providers.

What has not been checked is no finding against the borrower, so the verdict is YES or UNKNOWN.
Schema: `identity-assurance`; format of the proof: `docs/PROTOCOL.md`, "Assurance of identity".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from credproof.attestation.schema import Schema
from credproof.attestation.sdjwt import parse_disclosure
from credproof.attestation.statement import Opening, Statement
from credproof.attestation.token import Token
from credproof.base.encoding import date_of, frame, parse_date, parse_frame
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S
from credproof.verification.policy import Assurance, Policy

ASSURANCE: Final = "identity-assurance"
MATCHED: Final = "MATCHED"
SHOWN: Final = ("channel", "result", "performed_on")
"""The claims of a check that its proof discloses; its level is proved on the ladder."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """Who checked, over which channel."""

    provider: str
    channel: str


def is_fresh(policy: Policy, statement: Statement, now: int) -> bool:
    """Whether an attestation is recent enough for the policy, and not expired."""
    return statement.as_of >= policy.oldest(now) and statement.expires_at >= now


def is_assured(
    policy: Policy, assurance: Assurance, statements: Sequence[Statement], now: int
) -> bool:
    """Whether these attestations of identity checks suffice."""
    found = [check_of(policy, assurance, statement, now) for statement in statements]
    return suffices(policy, assurance, [check for check in found if check is not None])


def check_of(policy: Policy, assurance: Assurance, statement: Statement, now: int) -> Check | None:
    """The check that an attestation vouches for, or None when it does not count."""
    values = statement.values
    channel, performed = values["channel"], values["performed_on"]
    if not isinstance(channel, str) or not isinstance(performed, str):
        return None
    counts = (
        is_fresh(policy, statement, now)
        and values["result"] == MATCHED
        and assurance.level.evaluate(values["level"]) is True
        and _is_recent(assurance, performed, now)
    )
    return Check(statement.issuer, channel) if counts else None


def suffices(policy: Policy, assurance: Assurance, checks: Sequence[Check]) -> bool:
    """Whether these checks are over enough channels and from enough providers."""
    channels, providers = {c.channel for c in checks}, {c.provider for c in checks}
    needed = max(assurance.providers, policy.sources_min)
    return len(channels) >= assurance.channels and len(providers) >= needed


def fewest(policy: Policy, assurance: Assurance, checks: Mapping[T, Check]) -> list[T]:
    """Checks that suffice, none of which can be left out; in the order given.

    Every one that it goes without tells the lender less about the borrower.
    """
    kept = dict(checks)
    for name in checks:
        rest = {other: check for other, check in kept.items() if other != name}
        if suffices(policy, assurance, list(rest.values())):
            kept = rest
    return list(kept)


def prove(assurance: Assurance, opening: Opening) -> bytes:
    """The proof that one attestation gives: the level's ladder proof, and three disclosures."""
    shown = [opening.disclose(name).text.encode("ascii") for name in SHOWN]
    return frame([opening.prove(assurance.level), *shown])


def verify(assurance: Assurance, schema: Schema, token: Token, proof: bytes, *, at: int) -> Check:
    """The check that a proof shows, judged at time `at`.

    Raises:
        Malformed: `BAD_FRAME`, `BAD_DISCLOSURE`, and as `parse_disclosure`.
        VerificationFailed: `BAD_LADDER_PROOF`, `BAD_DISCLOSURE`, `NOT_MATCHED`, `STALE`.
    """
    parts = parse_frame(proof)
    if len(parts) != 1 + len(SHOWN):
        raise Malformed("BAD_FRAME", "the proof of an identity check has four parts")
    level, *texts = parts
    token.verify_condition(schema, assurance.level, level)
    opened = _open(token, texts)
    if opened["result"] != MATCHED:
        raise VerificationFailed("NOT_MATCHED", "an identity check did not match")
    if not _is_recent(assurance, opened["performed_on"], at):
        raise VerificationFailed("STALE", "an identity check is older than the policy allows")
    return Check(token.issuer, opened["channel"])


def _open(token: Token, texts: Sequence[bytes]) -> dict[str, Any]:
    if not all(text.isascii() for text in texts):
        raise Malformed("BAD_DISCLOSURE", "disclosure is not ASCII")
    opened = token.open([parse_disclosure(text.decode("ascii")) for text in texts])
    if tuple(opened) != SHOWN or not all(isinstance(value, str) for value in opened.values()):
        raise VerificationFailed("BAD_DISCLOSURE", "disclosures do not open an identity check")
    return opened


def _is_recent(assurance: Assurance, performed: str, at: int) -> bool:
    day: dt.date = parse_date(performed)
    return assurance.oldest(at) <= day <= date_of(at + CLOCK_SKEW_S)
