"""What the service holds about a borrower: current attestations, opened and checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from credproof.attestation.accepted import read_accepted
from credproof.attestation.package import Package, parse_package
from credproof.attestation.sdjwt import Disclosure
from credproof.attestation.statement import Statement
from credproof.base.errors import CredproofError, DataLoss
from credproof.base.jws import token_id
from credproof.base.keys import PublicKey, parse_jwk
from credproof.verification.proving import Holding
from credproof.verification.trust import Trust
from credproof.verification.verify import KEY_BINDING
from sqlalchemy import Connection, Row

from credproof_server.service.ingest import ROW
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey


@dataclass(frozen=True, slots=True)
class Holdings:
    """The current attestations of one borrower: figures, and key bindings apart.

    Both are what counts: of schemas that their providers may still attest. `bindings` are not
    expired, by providers that are not suspended, of keys that were not reported lost since.
    `token_ids` are the ids of all, in the order of the log.
    """

    attestations: tuple[Holding, ...]
    bindings: tuple[Holding, ...]
    token_ids: tuple[bytes, ...]

    def binding(self, provider: str, keys: Collection[PublicKey], trust: Trust) -> Holding | None:
        """A current binding of one of these keys that counts for the provider."""
        binders, jwks = trust.binders(provider), [key.jwk() for key in keys]
        for holding in self.bindings:
            statement = holding.statement
            if statement.issuer in binders and statement.values["jwk"] in jwks:
                return holding
        return None

    def is_bound(self, keys: Collection[PublicKey]) -> bool:
        """Whether any provider binds one of these keys now."""
        jwks = [key.jwk() for key in keys]
        return any(holding.statement.values["jwk"] in jwks for holding in self.bindings)


def jwk_disclosure(binding: Holding) -> Disclosure:
    """The disclosure of a key binding's key."""
    return binding.opening.disclose("jwk")


def load_holdings(
    connection: Connection, key: DataKey, sub: bytes, trust: Trust, now: int
) -> Holdings:
    """Open what is held about a borrower.

    Raises:
        DataLoss: `ROW_NOT_OPENED`, `ROW_DIFFERS`.
    """
    rows = repository.current_attestations(connection, [sub])[sub]
    ended = repository.ended_keys_of(connection, [sub])[sub]
    return open_holdings(rows, ended, key, trust, now)


def open_holdings(
    rows: Sequence[Row[Any]], ended: Mapping[str, int], key: DataKey, trust: Trust, now: int
) -> Holdings:
    """Open the rows of a borrower's current attestations; `ended` are keys reported lost.

    Raises:
        DataLoss: `ROW_NOT_OPENED`, `ROW_DIFFERS`.
    """
    held = [open_row(row, key, trust) for row in rows]
    allowed = [h for h in held if _is_allowed(h, trust)]
    bindings = [h for h in allowed if _is_binding(h) and _counts(h, ended, trust, now)]
    figures = [h for h in allowed if not _is_binding(h)]
    return Holdings(tuple(figures), tuple(bindings), tuple(h.token_id for h in held))


def _is_binding(holding: Holding) -> bool:
    return holding.statement.schema.name == KEY_BINDING


def _is_allowed(holding: Holding, trust: Trust) -> bool:
    """Whether the provider may attest the schema now: a verifier takes nothing else."""
    issuer = trust.participants.get(holding.statement.issuer)
    return issuer is not None and holding.statement.schema.digest in issuer.schemas


def _counts(binding: Holding, ended: Mapping[str, int], trust: Trust, now: int) -> bool:
    """Whether a verifier will take the binding; without one, nothing of its provider is used."""
    statement = binding.statement
    issuer = trust.participants.get(statement.issuer)
    if issuer is None or issuer.is_suspended(now) or statement.expires_at < now:
        return False
    return ended.get(bound_key(statement).kid, -1) < binding.log_index


def bound_key(statement: Statement) -> PublicKey:
    """The key that a binding is about."""
    return parse_jwk(statement.values["jwk"])


def open_row(row: Row[Any], key: DataKey, trust: Trust) -> Holding:
    """One attestation out of its row; its token must be the one the row was filed under.

    Raises:
        DataLoss: `ROW_NOT_OPENED`, `ROW_DIFFERS`.
    """
    plain = key.open(ROW, row.token_id, row.sealed)
    schema = trust.schemas.get(row.schema_digest)
    if schema is None:
        raise DataLoss("ROW_DIFFERS", "a stored row is of a schema that is not known")
    try:
        accepted = read_accepted(plain, schema)
    except CredproofError as error:
        raise DataLoss("ROW_DIFFERS", "a stored row does not parse") from error
    statement, found = accepted.opening.statement, token_id(accepted.token)
    filed = (row.token_id, row.sub, row.provider, row.seq)
    if (found, statement.sub, statement.issuer, statement.seq) != filed:
        raise DataLoss("ROW_DIFFERS", "a stored row is not the one that was filed")
    return Holding(accepted.token, found, row.log_index, accepted.opening)


def open_package(row: Row[Any], key: DataKey) -> Package:
    """The package in a row, taken apart as strictly as when it came.

    Raises:
        DataLoss: `ROW_NOT_OPENED`, `ROW_DIFFERS`.
    """
    plain = key.open(ROW, row.token_id, row.sealed)
    try:
        package = parse_package(plain)
    except CredproofError as error:
        raise DataLoss("ROW_DIFFERS", "a stored row does not parse") from error
    token = package.token
    filed = (row.token_id, row.sub, row.schema_digest, row.provider, row.seq)
    if (token.id, token.sub, token.schema_digest, token.issuer, package.seq) != filed:
        raise DataLoss("ROW_DIFFERS", "a stored row is not the one that was filed")
    return package
