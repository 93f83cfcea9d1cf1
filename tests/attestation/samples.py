"""Statements of the shipped schema consumer-revolving/1, small and repeatable."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from credproof import standard
from credproof.attestation.package import Package, pack, parse_package
from credproof.attestation.schema import Schema, Value
from credproof.attestation.statement import Opening, Statement, issue
from credproof.attestation.token import Token, parse_token
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.keys import DatedKey, Ed25519Signer

NOW = 1_760_000_000
TODAY = dt.datetime.fromtimestamp(NOW, dt.UTC).date()
ISSUER = "bank-a"
SEED = bytes(range(32))
SIGNER = Ed25519Signer(b"\x11" * 32)
OTHER_SIGNER = Ed25519Signer(b"\x22" * 32)
REVOLVING: Schema = standard.schemas()["consumer-revolving/1"]

VALUES: Mapping[str, Value] = {
    "credit_limit": 5_000_000,
    "used_amount": 1_250_000,
    "peak_used_6m": 2_000_000,
    "statement_due": 90_000,
    "paid_last_cycle": 90_000,
    "utilisation_bp": 2_500,
    "months_on_book": 40,
    "days_past_due": 0,
    "overdue_cycles": 0,
    "max_overdue_cycles_6m": 1,
    "overdue_months_6m": 1,
    "max_days_past_due_12m": 12,
    "account_status": "ACTIVE",
    "opened_on": "2021-05-06",
}
NOTHING: Mapping[str, Value] = dict.fromkeys(VALUES)


def statement(values: Mapping[str, Value] | None = None, **changes: Any) -> Statement:
    """A statement with `VALUES` (or `values`, in full), any member changed."""
    members: dict[str, Any] = {
        "schema": REVOLVING,
        "issuer": ISSUER,
        "issued_at": NOW,
        "expires_at": NOW + 90 * 24 * 3600,
        "jti": b"\x01" * 16,
        "sub": b"\x02" * 32,
        "as_of": TODAY,
        "currency": "TWD",
        "values": VALUES if values is None else values,
        "account": "card-1",
        "seq": 1,
        "prev": bytes(32),
        "basis": b"\x03" * 32,
    }
    return Statement(**{**members, **changes})


def opening(
    values: Mapping[str, Value] | None = None, *, seed: bytes = SEED, **changes: Any
) -> Opening:
    """The statement with its seed."""
    return Opening(statement(values, **changes), seed)


def with_values(**changes: Value) -> dict[str, Value]:
    """`VALUES` with some of them changed."""
    return {**VALUES, **changes}


def token(opened: Opening | None = None, signer: Ed25519Signer = SIGNER) -> Token:
    """The issued token, parsed."""
    return parse_token(issue(opened or opening(), signer))


def package(opened: Opening | None = None, signer: Ed25519Signer = SIGNER) -> Package:
    """The issued package, parsed."""
    return parse_package(package_bytes(opened, signer))


def package_bytes(opened: Opening | None = None, signer: Ed25519Signer = SIGNER) -> bytes:
    """The package as it travels."""
    opened = opened or opening()
    return pack(issue(opened, signer), opened)


def edited(data: bytes, edit: Any) -> bytes:
    """Canonical JSON bytes after `edit` has changed the value in place."""
    value = parse_json(data)
    edit(value)
    return canonical_json(value)


def dated(
    signer: Ed25519Signer = SIGNER, *, start: int = NOW - 10**6, end: int = NOW + 10**6
) -> DatedKey:
    """The signer's public key with a validity around `NOW`."""
    return DatedKey(signer.public, start, end)
