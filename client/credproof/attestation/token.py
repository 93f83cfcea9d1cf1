"""The signed token of an attestation, as everybody sees it: visible members and digests."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from credproof.attestation.ladder import DIRECTIONS, Chain, Condition, Direction
from credproof.attestation.schema import Schema
from credproof.attestation.sdjwt import Disclosure, open_disclosures
from credproof.attestation.statement import HIDDEN, JTI_BYTES
from credproof.base import jws
from credproof.base.encoding import parse_b64url, parse_date
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.jws import Jws
from credproof.base.keys import DatedKey
from credproof.base.members import Members

_CURRENCY = re.compile(r"[A-Z]{3}\Z")


@dataclass(frozen=True, slots=True)
class Token:
    """A parsed token; nothing in it is verified yet. `id` identifies it everywhere."""

    jws: Jws
    issuer: str
    issued_at: int
    expires_at: int
    jti: bytes
    sub: bytes
    as_of: dt.date
    currency: str | None
    schema_digest: bytes
    vct: str
    anchors: Mapping[tuple[str, Direction], bytes]

    @property
    def id(self) -> bytes:
        """SHA-256 of the signing input, 32 bytes."""
        return self.jws.id

    def verify_signature(self, key: DatedKey) -> None:
        """Accept the signature by `key`, valid when the token was issued.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`, `WRONG_ALGORITHM`, `KEY_NOT_VALID`.
        """
        self.jws.verify(key.public)
        key.verify_valid_at(self.issued_at)

    def verify_schema(self, schema: Schema) -> None:
        """Accept the token as one of `schema`, of its constant shape.

        Raises:
            VerificationFailed: `WRONG_SCHEMA`, `WRONG_SHAPE`.
        """
        if (self.schema_digest, self.vct) != (schema.digest, schema.vct):
            raise VerificationFailed("WRONG_SCHEMA", "token is of another schema")
        anchors = {(claim, way) for claim in schema.ladders for way in DIRECTIONS}
        digests = len(schema.claims) + len(schema.facts) + len(HIDDEN)
        if set(self.anchors) != anchors or len(self.jws.claims["_sd"]) != digests:
            raise VerificationFailed("WRONG_SHAPE", "token lacks a digest or an anchor")
        if schema.has_money == (self.currency is None):
            raise VerificationFailed("WRONG_SHAPE", "token's currency does not fit its schema")

    def verify_condition(self, schema: Schema, condition: Condition, proof: bytes) -> None:
        """Accept `proof` of `condition` about the attested value.

        Raises:
            VerificationFailed: `BAD_LADDER_PROOF`.
        """
        claim, direction = condition.claim, condition.direction
        ladder = schema.ladders[claim]
        chain = Chain.of(self.issuer, self.jti, claim, direction, ladder)
        position = ladder.position(direction, condition.threshold)
        chain.verify(proof, position, self.anchors[claim, direction])

    def open(self, disclosures: Sequence[Disclosure]) -> dict[str, Any]:
        """The disclosed members by name, each signed by this token.

        Raises:
            Malformed, VerificationFailed: as `open_disclosures`.
        """
        opened = open_disclosures(self.jws.claims, disclosures)
        return {disclosure.name: opened[disclosure.name] for disclosure in disclosures}


def parse_token(text: str) -> Token:
    """A token of our profile, taken apart strictly; the signature is not looked at.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_TOKEN`, or as `jws.parse`.
    """
    parsed = jws.parse(text, jws.ATTESTATION)
    members = Members(parsed.claims, "token")
    token = Token(
        jws=parsed,
        issuer=members.take("iss", str),
        issued_at=members.take("iat", int),
        expires_at=members.take("exp", int),
        jti=members.bytes("jti", JTI_BYTES),
        sub=members.bytes("sub", 32),
        as_of=parse_date(members.take("as_of", str)),
        currency=_parse_currency(members.take_any("currency")),
        schema_digest=members.bytes("schema", 32),
        vct=members.take("vct", str),
        anchors=_parse_anchors(members.take("ladders", dict)),
    )
    fixed = (members.take("_sd_alg", str), members.take("sums", dict))
    digests = members.strings("_sd")
    members.finish()
    if fixed != ("sha-256", {}):
        raise Malformed("BAD_TOKEN", "token has a member of another profile")
    if list(digests) != sorted(set(digests)) or "jwk" in parsed.header:
        raise Malformed("BAD_TOKEN", "digests are not sorted, or the token carries a key")
    return token


def _parse_currency(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and _CURRENCY.match(value)):
        raise Malformed("BAD_TOKEN", "currency is neither an ISO 4217 code nor null")
    return value


def _parse_anchors(value: dict[str, Any]) -> dict[tuple[str, Direction], bytes]:
    anchors: dict[tuple[str, Direction], bytes] = {}
    for claim, pair in value.items():
        match pair:
            case {"at_least": str(at_least), "below": str(below)} if len(pair) == 2:
                anchors[claim, "at_least"] = parse_b64url(at_least, size=32)
                anchors[claim, "below"] = parse_b64url(below, size=32)
            case _:
                raise Malformed("BAD_MEMBER", "ladders: a claim has not its two anchors")
    return anchors
