"""The attestation: an SD-JWT VC (RFC 9901) with ladder anchors, of constant shape.

Every secret derives from one 32-byte seed, so whoever holds statement and seed rebuilds
the payload byte for byte: that is how the service checks each digest and each anchor.
Format: `docs/PROTOCOL.md`, "Attestation".
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from credproof.attestation.ladder import DIRECTIONS, Chain, Condition, Direction
from credproof.attestation.schema import Schema, Value
from credproof.attestation.sdjwt import Disclosure, make_disclosure
from credproof.base import jws
from credproof.base.encoding import Json, b64url, canonical_json, frame, tagged
from credproof.base.errors import VerificationFailed
from credproof.base.keys import Signer

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
        statement = self.statement
        members: dict[str, Json] = {
            "_sd": sorted(self._digests()),
            "_sd_alg": "sha-256",
            "as_of": statement.as_of.isoformat(),
            "currency": statement.currency,
            "exp": statement.expires_at,
            "iat": statement.issued_at,
            "iss": statement.issuer,
            "jti": b64url(statement.jti),
            "ladders": self._anchors(),
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
        return self._make(name, value)

    def prove(self, condition: Condition) -> bytes:
        """The 32-byte ladder proof of a condition.

        Raises:
            VerificationFailed: `NOT_PROVABLE` when it does not hold or is unknown.
        """
        claim, direction = condition.claim, condition.direction
        position = self.statement.schema.ladders[claim].position(direction, condition.threshold)
        chain, secret, start = self._chain(claim, direction)
        return chain.prove(secret, start, position)

    def _openable(self) -> dict[str, Json]:
        statement = self.statement
        return {**statement.values, **statement.facts(), **statement.hidden}

    def _digests(self) -> Iterator[str]:
        for name, value in self._openable().items():
            if value is None:
                yield b64url(self._secret("decoy", name))
            else:
                yield self._make(name, value).digest

    def _make(self, name: str, value: Json) -> Disclosure:
        return make_disclosure(self._secret("salt", name)[:SALT_BYTES], name, value)

    def _anchors(self) -> dict[str, Json]:
        return {
            claim: {direction: b64url(self._anchor(claim, direction)) for direction in DIRECTIONS}
            for claim in self.statement.schema.ladders
        }

    def _anchor(self, claim: str, direction: Direction) -> bytes:
        chain, secret, start = self._chain(claim, direction)
        return chain.walk(secret, start)

    def _chain(self, claim: str, direction: Direction) -> tuple[Chain, bytes, int]:
        statement = self.statement
        ladder, value = statement.schema.ladders[claim], statement.values[claim]
        start = ladder.start(direction, value if isinstance(value, int) else None)
        chain = Chain.of(statement.issuer, statement.jti, claim, direction, ladder)
        return chain, self._secret(direction, claim), start

    def _secret(self, kind: str, name: str) -> bytes:
        """HMAC-SHA256 under the seed: 32 bytes for one use only."""
        named = _of_token(self.statement.issuer, self.statement.jti) + _of_name(kind, name)
        return hmac.digest(self.seed, named, "sha256")


# One frame, made of two: all secrets of a token begin alike, and those of a name end alike.


@lru_cache(maxsize=8)
def _of_token(issuer: str, jti: bytes) -> bytes:
    return tagged("secret", issuer.encode(), jti)


@lru_cache(maxsize=1024)
def _of_name(kind: str, name: str) -> bytes:
    return frame((kind.encode(), name.encode()))


def issue(opening: Opening, signer: Signer) -> str:
    """The signed token of a statement, whose seed must be 32 fresh random bytes."""
    return jws.sign_payload(signer, jws.ATTESTATION, opening.payload())
