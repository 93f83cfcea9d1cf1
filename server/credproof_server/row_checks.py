"""Is a stored row what it was when it was logged? One function per table."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from credproof.attestation.package import parse_package, verify_commitments
from credproof.attestation.withdrawal import parse_withdrawal
from credproof.base.encoding import b64url, parse_b64url
from credproof.base.errors import DataLoss
from credproof.base.jws import TRUST, parse, token_id
from credproof.base.limits import TRUST_BYTES_MAX
from credproof.log.checkpoint import parse_checkpoint
from credproof.log.entry import Entry, parse_entry
from credproof.log.note import parse_note
from credproof.log.timestamp import require_of
from credproof.verification.anomaly import ENTRY_LIFTED, ENTRY_RAISED, parse_anomaly
from credproof.verification.answer import ENTRY_ANSWER, ENTRY_ATTESTATION, Answer, parse_answer
from credproof.verification.answer_entry import parse_given
from credproof.verification.consent import verify_consent
from credproof.verification.details import VERDICTS
from credproof.verification.document import PAUSE, RESUMPTION, Kind
from credproof.verification.filing import ENTRY_ROOT, ENTRY_WITHDRAWN, Filed, parse_root
from credproof.verification.pausing import verify_pause
from credproof.verification.registry import ENTRY_CHANGED
from credproof.verification.trust import Trust
from credproof.verification.unseal_rules import parse_asked, parse_decided, parse_unsealed
from credproof.verification.unsealing import (
    ENTRY_APPROVED,
    ENTRY_ASKED,
    ENTRY_DECLINED,
    ENTRY_UNSEALED,
    parse_unseal_decision,
    parse_unseal_request,
)
from credproof.wire import answer as answer_wire
from sqlalchemy import Connection, Row

from credproof_server.service import (
    answering,
    consents,
    ingest,
    pausing,
    withdrawals,
)
from credproof_server.service.core import chain_id
from credproof_server.service.holdings import open_package
from credproof_server.service.opening import open_detail
from credproof_server.service.unsealing import reason_of
from credproof_server.storage import observations, repository
from credproof_server.storage.leaves import leaf_row
from credproof_server.storage.vault import DataKey


@dataclass(frozen=True, slots=True)
class Context:
    """What rows are checked against. `keys` are the data keys of the page's subjects."""

    trust: Trust
    index_key: bytes
    keys: Mapping[bytes, DataKey]
    lines: Mapping[int, bytes]

    def entry(self, log_index: int, kind: str) -> Entry:
        """The entry that a row belongs to.

        Raises:
            DataLoss: `ROW_DIFFERS`.
        """
        line = self.lines.get(log_index)
        entry = parse_entry(line) if line is not None else None
        if entry is None or entry.kind != kind:
            raise differs()
        return entry

    def key(self, sub: bytes) -> DataKey:
        """
        Raises:
            DataLoss: `KEY_MISSING`.
        """
        if sub not in self.keys:
            raise DataLoss("KEY_MISSING", "a subject has no data key")
        return self.keys[sub]


def differs() -> DataLoss:
    return DataLoss("ROW_DIFFERS", "a stored row differs from its logged digest")


def attestation(row: Row[Any], context: Context) -> None:
    """The package opens, recomputes, and is what was logged and filed."""
    package = open_package(row, context.key(row.sub))
    token = package.token
    verify_commitments(package, context.trust.schemas[token.schema_digest])
    filed = chain_id(context.index_key, token.issuer, token.schema_digest, package.account)
    entry = context.entry(row.log_index, ENTRY_ATTESTATION)
    if (entry.object, entry.actor, row.chain_id) != (token.id, token.issuer, filed):
        raise differs()
    if row.withdrawn_index is not None:
        fields = context.entry(row.withdrawn_index, ENTRY_WITHDRAWN).fields
        if parse_b64url(str(fields.get("token"))) != token.id:
            raise differs()


def withdrawal(row: Row[Any], context: Context) -> None:
    """The provider's signed withdrawal is the one that was logged."""
    found = parse_withdrawal(row.token.decode("ascii"))
    entry = context.entry(row.log_index, ENTRY_WITHDRAWN)
    if (entry.object, found.token, entry.actor) != (found.jws.id, row.token_id, found.issuer):
        raise differs()


def ended_key(row: Row[Any], context: Context) -> None:
    """The ended key is the one that was logged."""
    entry = context.entry(row.log_index, withdrawals.ENTRY_KEY_ENDED)
    if entry.object != withdrawals.ended_key_digest(entry.salt, row.sub, row.kid):
        raise differs()


def signature(row: Row[Any], context: Context) -> None:
    """A further signature under a consent opens, verifies, and is what was logged."""
    name = consents.signature_name(row.consent_id, row.log_index)
    text = context.key(row.sub).open(consents.SIGNATURE_ROW, name, row.sealed)
    found = verify_consent(text.decode("ascii"), context.trust.bundle.relying_parties)
    entry = context.entry(row.log_index, consents.ENTRY_SIGNED)
    if (entry.object, row.consent_id, row.sub) != (found.id, found.id, found.terms.sub):
        raise differs()


def pause(row: Row[Any], context: Context) -> None:
    """A pause opens, verifies, and is what was logged."""
    _pause(row, context, PAUSE, pausing.ENTRY_PAUSED)


def resumption(row: Row[Any], context: Context) -> None:
    """A resumption opens, verifies, and is what was logged."""
    _pause(row, context, RESUMPTION, pausing.ENTRY_RESUMED)


def _pause(row: Row[Any], context: Context, kind: Kind, logged: str) -> None:
    text = context.key(row.sub).open(pausing.ROW, row.document_id, row.sealed)
    found = verify_pause(text.decode("ascii"), kind, context.trust.bundle.relying_parties)
    entry = context.entry(row.log_index, logged)
    filed = (row.consent_id, row.issued_at, row.document_id, entry.object)
    told = (found.consent, found.issued_at, found.document.id, found.consent)
    if (*filed, entry.fields.get("document")) != (*told, b64url(found.document.id)):
        raise differs()


def conflict(row: Row[Any], context: Context) -> None:
    """The evidence of an equivocation opens and is what was logged."""
    package = parse_package(context.key(row.sub).open(ingest.ROW, row.token_id, row.sealed))
    entry = context.entry(row.log_index, ingest.ENTRY_CONFLICT)
    filed = (entry.object, row.token_id, row.sub, entry.fields.get("accepted"))
    token = package.token
    if filed != (token.id, token.id, token.sub, b64url(row.accepted_id)):
        raise differs()


def consent(row: Row[Any], context: Context) -> None:
    """The consent opens, verifies, and is what was logged."""
    token = context.key(row.sub).open(consents.ROW, row.consent_id, row.sealed)
    found = verify_consent(token.decode("ascii"), context.trust.bundle.relying_parties)
    entry = context.entry(row.log_index, consents.ENTRY_GRANTED)
    terms = (found.terms.sub, found.terms.aud)
    if (entry.object, row.consent_id, row.sub, row.lender) != (found.id, found.id, *terms):
        raise differs()
    if row.request not in (None, found.request):
        raise differs()
    if row.revoked_index is not None:
        revoked = context.entry(row.revoked_index, consents.ENTRY_REVOKED)
        if revoked.object != found.id:
            raise differs()


def answer(row: Row[Any], context: Context) -> None:
    """The answer opens and is what was logged, for the lender that asked."""
    name = answering.answer_name(row.lender, row.request_id)
    bundle = answer_wire.parse(context.key(row.sub).open(answering.ROW, name, row.sealed))
    entry = context.entry(row.log_index, ENTRY_ANSWER)
    if (entry.object, entry.actor) != (token_id(bundle.answer), row.lender):
        raise differs()
    _, said = parse_answer(bundle.answer)
    _require_said(entry, said, context)
    asked = answering.Ask(
        lender=row.lender,
        request_id=said.request_id,
        nonce=said.nonce,
        sub=said.sub,
        policy=said.policy,
        consent_id=said.consent,
        case_digest=said.case,
        staff_digest=said.staff,
    )
    filed = (row.request_id, row.request_digest, row.consent_id, row.policy_digest, row.sub)
    told = (said.request_id, asked.digest, said.consent, said.policy.digest, said.sub)
    if (*filed, row.time) != (*told, entry.time):
        raise differs()
    if row.verdicts is not None:
        open_detail(entry, VERDICTS, row, context.key(row.sub))


def _require_said(entry: Entry, said: Answer, context: Context) -> None:
    """The entry says of an answer what the answer says, and is tagged for its borrower."""
    given = parse_given(entry)
    policy = context.trust.policies.get(said.policy)
    if policy is None or not given.is_of(said, policy.purpose):
        raise differs()
    if context.key(said.sub).tag(entry.salt) != given.tag:
        raise differs()


def trust_bundle(row: Row[Any], context: Context) -> None:
    """The trust bundle is the one that was logged under its version."""
    token = parse(row.token.decode("ascii"), TRUST, limit=TRUST_BYTES_MAX)
    entry = context.entry(row.log_index, ENTRY_CHANGED)
    logged = (entry.object, entry.fields.get("version"))
    if logged != (token.id, row.version) or token.claims.get("version") != row.version:
        raise differs()


def anomaly(row: Row[Any], context: Context) -> None:
    """What was raised is what was logged, and ends no earlier unless it was lifted."""
    entry = context.entry(row.log_index, ENTRY_RAISED)
    found = parse_anomaly(entry)
    alone = found.participants[0] if len(found.participants) == 1 else None
    filed = (row.rule, row.participant, row.time, row.evaluations)
    if filed != (found.rule, alone, entry.time, found.evaluations):
        raise differs()
    if (found.tag is None) != (row.sub is None):
        raise differs()
    if found.tag is not None and context.key(row.sub).tag(entry.salt) != found.tag:
        raise differs()
    if row.lifted_index is None:
        ends = entry.time + found.throttle_s
    else:
        ends = context.entry(row.lifted_index, ENTRY_LIFTED).time
    if row.until != ends:
        raise differs()


def unsealing(row: Row[Any], context: Context) -> None:
    """A request to unseal is the one that was logged, and its reason opens and is its own."""
    found, entry = (
        parse_unseal_request(row.request.decode("ascii")),
        context.entry(row.log_index, ENTRY_ASKED),
    )
    said = parse_asked(entry)
    asked = (found.id, found.auditor, found.log_index, found.detail, found.until)
    filed = (row.request_id, row.auditor, row.entry_index, row.detail, row.until)
    logged = (entry.object, entry.actor, said.log_index, said.detail, said.until)
    key = context.key(row.sub)
    if not asked == filed == logged or key.tag(entry.salt) != said.tag:
        raise differs()
    if not reason_of(row, key).digest == found.reason == said.reason:
        raise differs()


def unseal_approval(row: Row[Any], context: Context) -> None:
    """What a second auditor approved of is what was logged."""
    _decision(row, context.entry(row.log_index, ENTRY_APPROVED))


def unseal_refusal(row: Row[Any], context: Context) -> None:
    """What a second auditor declined is what was logged."""
    _decision(row, context.entry(row.log_index, ENTRY_DECLINED))


def _decision(row: Row[Any], entry: Entry) -> None:
    found = parse_unseal_decision(row.decision.decode("ascii"))
    filed = (row.request_id, row.auditor, row.approves)
    if filed != (found.request, found.auditor, found.approves):
        raise differs()
    if (entry.object, entry.actor, parse_decided(entry)) != (
        found.jws.id,
        row.auditor,
        row.request_id,
    ):
        raise differs()


def unsealed_detail(row: Row[Any], context: Context) -> None:
    """To whom a detail was given is what was logged."""
    entry = context.entry(row.log_index, ENTRY_UNSEALED)
    filed = (row.request_id, row.auditor, row.time)
    if filed != (entry.object, entry.actor, entry.time):
        raise differs()
    if context.key(row.sub).tag(entry.salt) != parse_unsealed(entry).tag:
        raise differs()


def directory_root(row: Row[Any], context: Context) -> None:
    """A root of the directory is the one that was logged."""
    found = parse_root(context.entry(row.log_index, ENTRY_ROOT))
    if (found.root, found.covered) != (row.root, row.covered):
        raise differs()


def leaf(row: Row[Any], filed: Filed) -> None:
    """A leaf of the directory is what the log makes of it."""
    bucket = int.from_bytes(row.place[:2], "big")
    if leaf_row(bucket, filed.leaf(row.place), filed) != dict(row._mapping):
        raise differs()


def document(digest: object, content: bytes) -> None:
    """A document stands under its digest."""
    if digest != hashlib.sha256(content).digest():
        raise differs()


def evaluation(participant: object, day: object, count: object) -> None:
    """A row of the meter holds what can be counted."""
    sound = isinstance(participant, str) and isinstance(day, str) and isinstance(count, int)
    if not sound or not re.fullmatch(r"\d{4}-\d\d-\d\d", str(day)) or int(str(count)) < 0:
        raise differs()


def timestamp(row: Row[Any], roots: Mapping[int, bytes]) -> None:
    """A timestamp is of a note, and that of a root that was committed."""
    if not (isinstance(row.note, bytes) and isinstance(row.response, bytes)):
        raise differs()
    seen = parse_checkpoint(parse_note(row.note).text)
    require_of(row.response, row.note)
    if seen.tree_size != row.tree_size or roots.get(seen.tree_size) != seen.root_hash:
        raise differs()


RowCheck = Callable[[Row[Any], Context], None]
ROWS: Final[Mapping[str, tuple[str, RowCheck]]] = {
    "attestation": (ENTRY_ATTESTATION, attestation),
    "withdrawal": (ENTRY_WITHDRAWN, withdrawal),
    "ended key": (withdrawals.ENTRY_KEY_ENDED, ended_key),
    "conflict": (ingest.ENTRY_CONFLICT, conflict),
    "consent": (consents.ENTRY_GRANTED, consent),
    "signature": (consents.ENTRY_SIGNED, signature),
    "pause": (pausing.ENTRY_PAUSED, pause),
    "resumption": (pausing.ENTRY_RESUMED, resumption),
    "answer": (ENTRY_ANSWER, answer),
    "trust bundle": (ENTRY_CHANGED, trust_bundle),
    "anomaly": (ENTRY_RAISED, anomaly),
    "unsealing": (ENTRY_ASKED, unsealing),
    "unseal approval": (ENTRY_APPROVED, unseal_approval),
    "unseal refusal": (ENTRY_DECLINED, unseal_refusal),
    "unsealed detail": (ENTRY_UNSEALED, unsealed_detail),
    "directory root": (ENTRY_ROOT, directory_root),
}
"""What is stored: the kind of log entry that each row belongs to, and how it is checked."""


def require_rows(connection: Connection, indexes: Mapping[str, set[int]]) -> None:
    """Every entry has its row, and what the log ended has ended in the rows too.

    `indexes` are those of the log's entries, by kind.

    Raises:
        DataLoss: `EXPORT_DIFFERS`.
    """
    revoked, withdrawn = repository.ended(connection)
    found = {consents.ENTRY_REVOKED: revoked, ENTRY_WITHDRAWN: withdrawn}
    found[ENTRY_LIFTED] = observations.lifted(connection)
    pairs = [(kind, repository.logged_rows(connection, what)) for what, (kind, _) in ROWS.items()]
    for kind, rows in (*pairs, *found.items()):
        if not indexes.get(kind, set()) <= rows:
            raise DataLoss("EXPORT_DIFFERS", "the export lacks rows of its entries")
