"""Opening one detail behind a log entry, out of its row: exactly what the entry commits to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from credproof.base.encoding import parse_b64url
from credproof.base.errors import CredproofError, DataLoss, Refused
from credproof.log.entry import Entry
from credproof.verification.details import ANSWER, TERMS, VERDICTS, Opening, verify_detail
from credproof.verification.document import split_signatures
from credproof.wire import answer as wire
from sqlalchemy import Row

from credproof_server.service.answering import ROW, VERDICTS_ROW, answer_name
from credproof_server.service.consents import open_consent
from credproof_server.storage.vault import DataKey


def require_kept(row: Row[Any], detail: str) -> None:
    """Refuse a detail of an entry that is older than the keeping of it.

    Raises:
        Refused: `DETAIL_NOT_KEPT`.
    """
    if detail == VERDICTS and row.verdicts is None:
        raise Refused("DETAIL_NOT_KEPT", "the service did not keep this detail then")


def open_detail(entry: Entry, detail: str, row: Row[Any], key: DataKey) -> Opening:
    """The detail out of its row; it is what the entry commits to.

    Raises:
        DataLoss: `ROW_NOT_OPENED`, `ROW_DIFFERS`.
    """
    opening = _OPENERS[detail](entry, row, key)
    try:
        verify_detail(entry, detail, opening)
    except CredproofError as error:
        raise DataLoss("ROW_DIFFERS", "a stored row differs from its logged digest") from error
    return opening


def _verdicts(entry: Entry, row: Row[Any], key: DataKey) -> Opening:
    name = answer_name(row.lender, row.request_id)
    return Opening(key.open(VERDICTS_ROW, name, row.verdicts), key.verdicts_salt(entry.salt))


def _answer(_entry: Entry, row: Row[Any], key: DataKey) -> Opening:
    plain = key.open(ROW, answer_name(row.lender, row.request_id), row.sealed)
    return Opening(wire.parse(plain).answer.encode("ascii"), b"")


def _terms(_entry: Entry, row: Row[Any], key: DataKey) -> Opening:
    """What was signed, without the signatures: they name keys."""
    text = split_signatures(open_consent(row, [], key))[0]
    return Opening(parse_b64url(text.split(".")[1]), b"")


_OPENERS: Final[Mapping[str, Callable[[Entry, Row[Any], DataKey], Opening]]] = {
    VERDICTS: _verdicts,
    ANSWER: _answer,
    TERMS: _terms,
}
