"""The package that travels sealed: the token, the values, the seed.

Acceptance checks 2 to 6 (`docs/PROTOCOL.md`, "Accepting an attestation") are here; they need
nothing but bytes and time. The rest of the numbered list belongs to the service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from credproof.attestation.schema import Schema, Value
from credproof.attestation.statement import SEED_BYTES, Opening, Statement
from credproof.attestation.token import Token, parse_token
from credproof.base.encoding import (
    b64url,
    canonical_json,
    date_of,
    parse_b64url,
    parse_json,
)
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import DatedKey
from credproof.base.limits import (
    ACCOUNT_CHARS_MAX,
    ATTESTATION_AGE_MAX_S,
    ATTESTATION_LIFE_MAX_S,
    CLOCK_SKEW_S,
    INTEGER_MAX,
    PACKAGE_BYTES_MAX,
    at_most,
)
from credproof.base.members import Members

_ACCOUNT = re.compile(rf"[!-~]{{1,{ACCOUNT_CHARS_MAX}}}\Z")


@dataclass(frozen=True, slots=True)
class Package:
    """A parsed package; `values` holds the claims of the schema, unchecked.

    `data` are the bytes that were parsed: the one spelling of all the rest.
    """

    data: bytes
    token: Token
    seed: bytes
    values: Mapping[str, Value]
    account: str
    seq: int
    prev: bytes
    basis: bytes | None

    def opening(self, schema: Schema) -> Opening:
        """The statement that these values make under `schema`, with the seed."""
        token = self.token
        statement = Statement(
            schema=schema,
            issuer=token.issuer,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            jti=token.jti,
            sub=token.sub,
            as_of=token.as_of,
            currency=token.currency,
            values=self.values,
            account=self.account,
            seq=self.seq,
            prev=self.prev,
            basis=self.basis,
        )
        return Opening(statement, self.seed)


def pack(token: str, opening: Opening) -> bytes:
    """The package of a token that was just issued."""
    hidden, values = opening.statement.hidden, opening.statement.values
    return canonical_json(
        {"hidden": hidden, "seed": b64url(opening.seed), "token": token, "values": values}
    )


def parse_package(data: bytes) -> Package:
    """Check 2: the package and its token, taken apart strictly.

    Raises:
        Malformed: as the encodings, `BAD_PACKAGE`.
        LimitExceeded: larger than `PACKAGE_BYTES_MAX`.
    """
    at_most(len(data), PACKAGE_BYTES_MAX, "package")
    members = Members(parse_json(data), "package")
    hidden = Members(members.take("hidden", dict), "hidden")
    package = Package(
        data=data,
        token=parse_token(members.take("token", str)),
        seed=members.bytes("seed", SEED_BYTES),
        values=members.take("values", dict),
        account=hidden.take("account", str),
        seq=hidden.take("seq", int),
        prev=hidden.bytes("prev", 32),
        basis=_parse_basis(hidden.take_any("basis")),
    )
    hidden.finish()
    members.finish()
    if not _ACCOUNT.match(package.account) or not 1 <= package.seq <= INTEGER_MAX:
        raise Malformed("BAD_PACKAGE", "account or seq is out of range")
    return package


def _parse_basis(value: Any) -> bytes | None:
    """The digest, or None for null: the member is there even without a digest."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise Malformed("BAD_MEMBER", "hidden: basis is neither text nor null")
    return parse_b64url(value, size=32)


def verify_signature(package: Package, keys: Mapping[str, DatedKey], *, now: int) -> None:
    """Check 3: signed by a key of the caller that was valid at `iat` and is valid now.

    Raises:
        VerificationFailed: `UNKNOWN_KEY`, `BAD_SIGNATURE`, `KEY_NOT_VALID`.
    """
    key = keys.get(package.token.jws.kid)
    if key is None:
        raise VerificationFailed("UNKNOWN_KEY", "token is signed by a key that is not registered")
    package.token.verify_signature(key)
    key.verify_valid_at(now)


def verify_envelope(
    package: Package, *, caller: str, schemas: Mapping[bytes, Schema], now: int
) -> Schema:
    """Check 4: issuer, schema and dates; gives the schema, found by its digest.

    Raises:
        VerificationFailed: `WRONG_ISSUER`, `UNKNOWN_SCHEMA`, `TOO_OLD`, `FROM_THE_FUTURE`,
            `BAD_DATES`, and as `Token.verify_schema`.
    """
    token = package.token
    if token.issuer != caller:
        raise VerificationFailed("WRONG_ISSUER", "token is issued by another than the caller")
    schema = schemas.get(token.schema_digest)
    if schema is None:
        raise VerificationFailed("UNKNOWN_SCHEMA", "token is of a schema that is not in force")
    token.verify_schema(schema)
    if token.issued_at < now - ATTESTATION_AGE_MAX_S:
        raise VerificationFailed("TOO_OLD", "token is too old to be accepted: sign it anew")
    if token.issued_at > now + CLOCK_SKEW_S:
        raise VerificationFailed("FROM_THE_FUTURE", "token is issued in the future")
    _verify_dates(token, now)
    return schema


def _verify_dates(token: Token, now: int) -> None:
    life = token.expires_at - token.issued_at
    if not 0 < life <= ATTESTATION_LIFE_MAX_S or token.expires_at <= now:
        raise VerificationFailed("BAD_DATES", "token expires too early or too late")
    if token.as_of > date_of(token.issued_at + CLOCK_SKEW_S):
        raise VerificationFailed("BAD_DATES", "token speaks of a day after its signing")


def verify_values(package: Package, schema: Schema) -> None:
    """Check 5: the values fit the schema and each other.

    Raises:
        Malformed: as `Schema.verify_values`; `BAD_VALUE` for a first `seq` with a `prev`.
    """
    schema.verify_values(package.values)
    if (package.seq == 1) != (package.prev == bytes(32)):
        raise Malformed("BAD_VALUE", "prev must be zeros exactly when seq is 1")


def verify_commitments(package: Package, schema: Schema) -> Opening:
    """Check 6: every digest, anchor and decoy of the token recomputes from values and seed.

    Raises:
        VerificationFailed: `COMMITMENT_MISMATCH`.
    """
    opening = package.opening(schema)
    if opening.payload() != package.token.jws.payload:
        raise VerificationFailed("COMMITMENT_MISMATCH", "token does not commit to these values")
    return opening
