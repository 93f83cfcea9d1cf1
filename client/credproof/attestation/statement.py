"""The attestation: an SD-JWT VC (RFC 9901) with ladder anchors, of constant shape.

Every secret derives from one 32-byte seed, so whoever holds statement and seed rebuilds
the payload byte for byte: that is how the service checks each digest and each anchor.
Format: `docs/PROTOCOL.md`, "Attestation".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from credproof.attestation.ladder import DIRECTIONS, Chain, Condition, Direction
from credproof.attestation.schema import Schema, Value
from credproof.attestation.sdjwt import Disclosure, digest_of, disclosure_text, make_disclosure
from credproof.base import jws
from credproof.base.encoding import Json, b64url, canonical_json, frame, tagged
from credproof.base.errors import VerificationFailed
from credproof.base.keys import Signer
from credproof.base.mac import Mac

SEED_BYTES = 32
JTI_BYTES = 16
SALT_BYTES = 16
HIDDEN = ("account", "basis", "prev", "seq")
"""The provider's chain per account: opened to service and auditor only."""


@dataclass(frozen=True, slots=True)
class Statement:
    """All that a provider says in one attestation, in clear.

    Times are whole seconds; `sub` and `prev` have 32 bytes, `jti` 16. `values` names every
    claim of the schema; None is unknown. `seq` starts at 1 with `prev` of zeros; `basis` is
    the digest of the provider's own record, or None. `currency` is None exactly when the schema
    has no money.
    """

    schema: Schema
    issuer: str
    issued_at: int
    expires_at: int
    jti: bytes
    sub: bytes
    as_of: dt.date
    currency: str | None
    values: Mapping[str, Value]
    account: str
    seq: int
    prev: bytes
    basis: bytes | None

    @property
    def hidden(self) -> dict[str, Json]:
        """The chain members in their JSON form."""
        basis = None if self.basis is None else b64url(self.basis)
        prev = b64url(self.prev)
        return {"account": self.account, "basis": basis, "prev": prev, "seq": self.seq}

    def facts(self) -> dict[str, bool | None]:
        """The facts of the schema, evaluated on the values."""
        return {name: fact.evaluate(self.values) for name, fact in self.schema.facts.items()}


@dataclass(frozen=True, slots=True)
class Opening:
    """A statement with its seed: whoever has it can show any part of the token."""

    statement: Statement
    seed: bytes

    def payload(self) -> bytes:
        """The canonical payload of the token, rebuilt from nothing but statement and seed."""
        statement, secrets = self.statement, self._secrets()
        members: dict[str, Json] = {
            "_sd": sorted(self._digests(secrets)),
            "_sd_alg": "sha-256",
            "as_of": statement.as_of.isoformat(),
            "currency": statement.currency,
            "exp": statement.expires_at,
            "iat": statement.issued_at,
            "iss": statement.issuer,
            "jti": b64url(statement.jti),
            "ladders": self._anchors(secrets),
            "schema": b64url(statement.schema.digest),
            "sub": b64url(statement.sub),
            "sums": {},
            "vct": statement.schema.vct,
        }
        return canonical_json(members)

    def disclose(self, name: str) -> Disclosure:
        """The disclosure of a claim, fact or chain member.

        Raises:
            VerificationFailed: `NOT_PROVABLE` when it has no value.
        """
        value = self._openable()[name]
        if value is None:
            raise VerificationFailed("NOT_PROVABLE", "nothing was attested under this name")
        return make_disclosure(self._secrets().salt(name), name, value)

    def prove(self, condition: Condition) -> bytes:
        """The 32-byte ladder proof of a condition.

        Raises:
            VerificationFailed: `NOT_PROVABLE` when it does not hold or is unknown.
        """
        claim, direction = condition.claim, condition.direction
        ladder = self.statement.schema.ladders[claim]
        position = ladder.position(direction, condition.threshold)
        secret, start = self._secrets().of(direction, claim), self._start(claim, direction)
        return self._chain(claim, direction).prove(secret, start, position)

    def _openable(self) -> dict[str, Json]:
        statement = self.statement
        return {**statement.values, **statement.facts(), **statement.hidden}

    def _digests(self, secrets: Secrets) -> Iterator[str]:
        for name, value in self._openable().items():
            if value is None:
                yield b64url(secrets.of("decoy", name))
            else:
                yield digest_of(disclosure_text(secrets.salt(name), name, value))

    def _anchors(self, secrets: Secrets) -> dict[str, Json]:
        return {
            claim: {
                direction: b64url(
                    self._chain(claim, direction).walk(
                        secrets.of(direction, claim), self._start(claim, direction)
                    )
                )
                for direction in DIRECTIONS
            }
            for claim in self.statement.schema.ladders
        }

    def _chain(self, claim: str, direction: Direction) -> Chain:
        statement = self.statement
        ladder = statement.schema.ladders[claim]
        return Chain.of(statement.issuer, statement.jti, claim, direction, ladder)

    def _start(self, claim: str, direction: Direction) -> int:
        value = self.statement.values[claim]
        ladder = self.statement.schema.ladders[claim]
        return ladder.start(direction, value if isinstance(value, int) else None)

    def _secrets(self) -> Secrets:
        return Secrets(self.seed, self.statement.issuer, self.statement.jti)


class Secrets:
    """The secrets of one token: HMAC-SHA256 under its seed, 32 bytes for one use only."""

    __slots__ = ("_mac", "_token")

    def __init__(self, seed: bytes, issuer: str, jti: bytes) -> None:
        self._mac = Mac(seed)
        self._token = tagged("secret", issuer.encode(), jti)

    def of(self, kind: str, name: str) -> bytes:
        """The secret of this kind that belongs to a member."""
        return self._mac.digest(self._token + _of_name(kind, name))

    def salt(self, name: str) -> bytes:
        """The salt of a member's disclosure."""
        return self.of("salt", name)[:SALT_BYTES]


@lru_cache(maxsize=1024)
def _of_name(kind: str, name: str) -> bytes:
    """The end of a secret's frame: those of a token begin alike, those of a name end alike."""
    return frame((kind.encode(), name.encode()))


def issue(opening: Opening, signer: Signer) -> str:
    """The signed token of a statement, whose seed must be 32 fresh random bytes."""
    return jws.sign_payload(signer, jws.ATTESTATION, opening.payload())
