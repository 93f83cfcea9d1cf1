"""Reading a package again that passed every check when it was accepted.

The service keeps packages under authenticated encryption, bound to the row they were filed in.
What comes out is what was accepted, so its spelling is not looked at again: strictness is for what
comes from outside. What is not even a package is still told.
"""

from __future__ import annotations

from dataclasses import dataclass

from credproof.attestation.schema import Schema
from credproof.attestation.statement import Opening, Statement
from credproof.base.encoding import parse_b64url, parse_date, parse_own_json
from credproof.base.errors import Malformed


@dataclass(frozen=True, slots=True)
class Accepted:
    """The signed token, and the statement and seed that it commits to."""

    token: str
    opening: Opening


def read_accepted(data: bytes, schema: Schema) -> Accepted:
    """The bytes of an accepted package of this schema.

    Never for bytes that another could have written: `parse_package` is for those.

    Raises:
        Malformed: `BAD_PACKAGE` for what is no package, or one of another schema; as the
            encodings.
    """
    try:
        package = parse_own_json(data)
        token: str = package["token"]
        signed, hidden = parse_own_json(parse_b64url(token.split(".")[1])), package["hidden"]
        if parse_b64url(signed["schema"]) != schema.digest:
            raise Malformed("BAD_PACKAGE", "package is of another schema")
        statement = Statement(
            schema=schema,
            issuer=signed["iss"],
            issued_at=signed["iat"],
            expires_at=signed["exp"],
            jti=parse_b64url(signed["jti"]),
            sub=parse_b64url(signed["sub"]),
            as_of=parse_date(signed["as_of"]),
            currency=signed["currency"],
            values=package["values"],
            account=hidden["account"],
            seq=hidden["seq"],
            prev=parse_b64url(hidden["prev"]),
            basis=None if hidden["basis"] is None else parse_b64url(hidden["basis"]),
        )
        return Accepted(token, Opening(statement, parse_b64url(package["seed"])))
    except (LookupError, TypeError, AttributeError) as error:
        raise Malformed("BAD_PACKAGE", "not the package that was accepted") from error
