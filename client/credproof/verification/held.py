"""What a service holds about a borrower, as the borrower verifies it.

The directory names all that is current; each attestation that is shown ends in its provider's
signature, and was filed at this borrower's place.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from credproof.attestation.schema import Schema
from credproof.attestation.token import Token, parse_token
from credproof.base.errors import VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S, DIRECTORY_AGE_MAX_S
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.verification.answer import (
    ENTRY_ATTESTATION,
    DirectoryEvidence,
    Logged,
    TokenEvidence,
)
from credproof.verification.completeness import check_lookup
from credproof.verification.filing import LoggedRoot, index_of, parse_root, verify_element
from credproof.verification.inclusion import included
from credproof.verification.sources import Sources
from credproof.verification.trust import Trust


class NotShown(VerificationFailed):
    """The service does not show what it holds under `schema`."""

    def __init__(self, reason: str, message: str, schema: Schema) -> None:
        super().__init__(reason, message)
        self.schema = schema


@dataclass(frozen=True, slots=True)
class ShownHeld:
    """A page of what the service shows of one schema: a lookup of all, tokens, a signed checkpoint.

    The tokens of one page come after those of the page before, in the order of the log.
    """

    directory: DirectoryEvidence
    tokens: tuple[TokenEvidence, ...]
    checkpoint: bytes


@dataclass(frozen=True, slots=True)
class HeldAttestation:
    """A current attestation: by whom, how old its data are, when it ends (whole seconds)."""

    provider: str
    as_of: dt.date
    expires_at: int
    log_index: int


@dataclass(frozen=True, slots=True)
class Held:
    """All that is current of one schema.

    `others` is how many more there are, by providers for whom the borrower's key does not count.
    """

    schema: Schema
    attestations: tuple[HeldAttestation, ...]
    others: int
    root: LoggedRoot


@dataclass(frozen=True, slots=True)
class _Page:
    """A verified page: the ids of all that is current, and what is shown of it."""

    members: tuple[bytes, ...]
    attestations: tuple[HeldAttestation, ...]
    root: LoggedRoot


def verify_held(
    pages: Sequence[ShownHeld], schema: Schema, trust: Trust, *, sub: bytes, now: int
) -> Held:
    """Accept what a service shows of the borrower `sub` under one schema at time `now`, in one
    page or more.

    Raises:
        Malformed, VerificationFailed: as `docs/PROTOCOL.md`, "Self-check of borrowers", lists.
    """
    first, *others = (_verify_page(page, schema, trust, sub, now) for page in pages)
    if any(page.members != first.members for page in others):
        raise VerificationFailed("OTHER_MEMBERS", "pages are of different sets")
    held = tuple(item for page in (first, *others) for item in page.attestations)
    places = [item.log_index for item in held]
    if places != sorted(set(places)):
        raise VerificationFailed("SURPLUS", "a token is shown twice, or out of order")
    return Held(schema, held, len(first.members) - len(held), first.root)


def _verify_page(shown: ShownHeld, schema: Schema, trust: Trust, sub: bytes, now: int) -> _Page:
    checkpoint = verify_checkpoint(shown.checkpoint, trust.log_key.name, [trust.log_key])
    evidence = shown.directory
    if tuple(lookup.schema for lookup in evidence.lookups) != (schema.digest,):
        raise VerificationFailed("OTHER_LOOKUPS", "the lookup is not that of the schema asked")
    root = parse_root(included(evidence.root, checkpoint))
    if root.time < now - DIRECTORY_AGE_MAX_S - CLOCK_SKEW_S:
        raise VerificationFailed("STALE_ROOT", "directory root is too old")
    verify_element(trust.bundle.directory_key, sub, evidence.output)
    tokens = [_verified(item, schema, trust, sub, checkpoint) for item in shown.tokens]
    places = {t.id: i.logged for t, i in zip(tokens, shown.tokens, strict=True)}
    if len(places) != len(tokens):
        raise VerificationFailed("SURPLUS", "a token is shown twice")
    (lookup,) = evidence.lookups
    check_lookup(lookup, index_of(evidence.output.element, schema.digest), places, root)
    held = tuple(_held(token, places[token.id]) for token in tokens)
    return _Page(lookup.members, held, root)


def _verified(
    item: TokenEvidence,
    schema: Schema,
    trust: Trust,
    sub: bytes,
    checkpoint: VerifiedCheckpoint,
) -> Token:
    """The token: its provider's own word about this borrower, and in the log as that."""
    token = parse_token(item.token)
    token.verify_signature(Sources(trust, {}).key(token))
    token.verify_schema(schema)
    if token.sub != sub:
        raise VerificationFailed("OTHER_SUBJECT", "token is about another borrower")
    entry = included(item.logged, checkpoint)
    if (entry.kind, entry.actor, entry.object) != (ENTRY_ATTESTATION, token.issuer, token.id):
        raise VerificationFailed("OTHER_ENTRY", "log entry is about something else")
    return token


def _held(token: Token, place: Logged) -> HeldAttestation:
    return HeldAttestation(token.issuer, token.as_of, token.expires_at, place.log_index)
