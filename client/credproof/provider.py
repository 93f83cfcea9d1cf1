"""The provider's SDK: sign what you know, submit it, never twice and never half.

with Provider.open(Path("my-bank")) as provider:
    mapping = parse_mapping(Path("mapping.yaml").read_bytes())
    report = provider.submit(read_records(Path("cards.csv"), mapping, day_of_run=today),
                             schema_id=mapping.schema_id)
    print(report.accepted, "accepted,", len(report.rejected), "rejected")
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from credproof.attestation.package import Package, pack, parse_package
from credproof.attestation.pseudonym import SubjectId, begin, oprf_key_id, parse_subject_id
from credproof.attestation.schema import Schema
from credproof.attestation.sealing import Route
from credproof.attestation.statement import (
    JTI_BYTES,
    SEED_BYTES,
    Opening,
    Statement,
    issue,
)
from credproof.base import jws
from credproof.base.errors import DataLoss, Malformed, VerificationFailed
from credproof.base.group import scalar_from
from credproof.base.keys import PublicKey
from credproof.base.limits import BATCH_ITEMS_MAX, CLOCK_SKEW_S
from credproof.base.members import Members
from credproof.channel import call
from credproof.home import Home
from credproof.records.mapping import Record
from credproof.records.outbox import Item, Outbox
from credproof.records.reader import RejectedRow
from credproof.session import Session
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1 import pseudonym_service_pb2 as pseudonym_pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.v1.pseudonym_service_pb2_grpc import PseudonymServiceStub

KEY_BINDING = "key-binding/1"
LIFE_S = 90 * 24 * 3600
"""How long our attestations are valid: freshness is judged by `as_of`, this only ends them."""
POSSESSION_AGE_MAX_S = 600
"""How old a borrower's proof of possession may be."""

Place = tuple[str, dt.date]
"""An account and a day: one record of a provider."""
Progress = Callable[[int], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SubmitReport:
    """What became of the records: counts, and each that was rejected with its line and reason.

    `accepted` counts receipts, also those that an earlier run had not lived to get; `already`
    counts records that needed nothing: attested by an earlier run, or equal to a row before.
    """

    accepted: int
    already: int
    rejected: tuple[RejectedRow, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """A borrower's key is bound: the pseudonym that the borrower must know."""

    sub: bytes
    kid: str


class Provider(Session):
    """A data provider at work. Not safe to share between threads.

    Its outbox lies in its home; one process at a time can use it.
    """

    def __init__(self, home: Home) -> None:
        self._outbox = Outbox(home.folder / "outbox.db")
        try:
            super().__init__(home)
            self._signer = home.signer
        except BaseException:
            self._outbox.close()
            raise
        self._attestations = AttestationServiceStub(self._channel)
        self._pseudonyms = PseudonymServiceStub(self._channel)

    def close(self) -> None:
        """Let go of the connection and the outbox."""
        super().close()
        self._outbox.close()

    # -- pseudonyms

    def pseudonyms(self, subjects: Sequence[SubjectId]) -> list[bytes]:
        """The pseudonyms of these ids, in order. The service sees blinded elements only.

        Raises:
            VerificationFailed: `BAD_DLEQ_PROOF` when the service used another key.
        """
        found: list[bytes] = []
        for batch in _batches(subjects):
            found += self._pseudonyms_of(batch)
        return found

    def _pseudonyms_of(self, batch: Sequence[SubjectId]) -> Sequence[bytes]:
        public = self.trust.bundle.oprf_keys[-1]
        blinded = begin(batch, [scalar_from(secrets.token_bytes(64)) for _ in batch])
        request = pseudonym_pb.EvaluatePseudonymsRequest(
            key_id=oprf_key_id(public), blinded_elements=blinded.elements
        )
        reply = call(self._pseudonyms.EvaluatePseudonyms, request)
        return blinded.finish(list(reply.evaluated_elements), reply.proof, public)

    # -- submitting

    def submit(
        self,
        records: Iterable[Record | RejectedRow],
        *,
        schema_id: str,
        progress: Progress = lambda _count: None,
    ) -> SubmitReport:
        """Attest records: sign, keep in the outbox, seal, submit, check the receipts.

        A record that was attested before is not attested again; one that was signed but got no
        receipt is sent as the same bytes. So the same file may be submitted again at any time,
        also after a crash, and sends only what is missing. What makes a record the same is
        account, `as_of` and content. `progress` is called with how many records are done.

        Lenders are answered from the newest attestation of an account, so give the records of
        one account in the order of their days:

        - another content for the newest day, or a newer day, continues the account's chain;
        - an older day that was not attested, or otherwise, is rejected as `OUTDATED`: attested
          now, it would stand in for the newer figures. A correction belongs in the newest record;
        - two records of one account and day that differ in one call: the second is rejected as
          `CONTRADICTION`, since nobody could say which of them holds.

        This compares with the outbox. Without one (a new machine) chains go on where the service
        stands, and records are attested once more.

        Raises:
            Malformed: `UNKNOWN_SCHEMA`, `UNKNOWN_CLAIM` for the records as a whole.
            DataLoss: `MISFILED` when the service filed an attestation under another borrower.
            CredproofError: when the service refuses a whole batch or does not answer.
        """
        schema = self.trust.schema(schema_id)
        run = _Run(self, schema)
        run.resume()
        for batch in _batches(records):
            run.take(batch)
            progress(len(batch))
        return SubmitReport(run.accepted, run.already, tuple(run.rejected))

    def bind(self, possessions: Sequence[tuple[str, str]]) -> list[Bound]:
        """Bind borrowers' keys, given ids (`scheme:value`) and proofs of possession.

        The caller must know that the person who gave the proof is the one with that id.

        Raises:
            VerificationFailed: a proof is not for this provider, or too old.
            Conflict: the service refused a binding.
        """
        keys = [verify_possession(proof, provider=self.id, now=_now()) for _, proof in possessions]
        ids = [subject_id for subject_id, _ in possessions]
        records = [_binding_record(i, *pair) for i, pair in enumerate(zip(ids, keys, strict=True))]
        report = self.submit(records, schema_id=KEY_BINDING)
        if report.rejected:
            first = report.rejected[0]
            raise Malformed(first.reason, first.message)
        accounts = [record.account for record in records]
        items = self._outbox.newest(KEY_BINDING, accounts)
        return [Bound(items[name].sub, key.kid) for name, key in zip(accounts, keys, strict=True)]


def _binding_record(line: int, subject_id: str, key: PublicKey) -> Record:
    return Record(
        line=line,
        subject=subject_id,
        account=f"key-{key.kid}",
        as_of=dt.datetime.now(dt.UTC).date(),
        currency=None,
        values={"jwk": key.jwk(), "method": "SOFTWARE", "rp_id": None, "replaces": None},
    )


def verify_possession(token: str, *, provider: str, now: int) -> PublicKey:
    """The borrower's key out of a fresh proof of possession made for this provider.

    Raises:
        Malformed, VerificationFailed: `BAD_SIGNATURE`, `OTHER_PROVIDER`, `PROOF_TOO_OLD`.
    """
    parsed = jws.parse(token, jws.POSSESSION)
    key = parsed.verify_own_key()
    members = Members(parsed.claims, "proof of possession")
    audience, issued_at = members.take("aud", str), members.take("iat", int)
    members.finish()
    if audience != provider:
        raise VerificationFailed("OTHER_PROVIDER", "the proof was made for another provider")
    if not now - POSSESSION_AGE_MAX_S <= issued_at <= now + CLOCK_SKEW_S:
        raise VerificationFailed("PROOF_TOO_OLD", "the proof of possession is too old")
    return key


class _Run:
    """One run of `submit`."""

    def __init__(self, provider: Provider, schema: Schema) -> None:
        self._provider = provider
        self._schema = schema
        self._started = _now()
        self._resumed: frozenset[Place] = frozenset()
        self._said: dict[Place, bytes] = {}
        self.accepted = 0
        self.already = 0
        self.rejected: list[RejectedRow] = []

    def resume(self) -> None:
        """Send what an earlier run signed and got no receipt for."""
        left = self._provider._outbox.pending(BATCH_ITEMS_MAX)
        ours = [item for item in left if item.schema_id == self._schema.id]
        self._resumed = frozenset((item.account, item.as_of) for item in ours)
        self.flush()

    def take(self, batch: Sequence[Record | RejectedRow]) -> None:
        """Sign what is new of a batch, then send all that waits."""
        self.rejected += [item for item in batch if isinstance(item, RejectedRow)]
        records = [item for item in batch if isinstance(item, Record)]
        self._sign(self._valid(records))
        self.flush()

    def flush(self) -> None:
        """Send everything that has no receipt yet."""
        while items := self._provider._outbox.pending(BATCH_ITEMS_MAX):
            self._send(items)

    # -- checking and signing

    def _valid(self, records: Sequence[Record]) -> list[tuple[Record, SubjectId]]:
        valid = []
        for record in records:
            try:
                valid.append((self._complete(record), parse_subject_id(record.subject)))
            except Malformed as error:
                if error.reason == "UNKNOWN_CLAIM":
                    raise  # the mapping is wrong, not the record
                self._reject(record, error.reason, error.message)
        return valid

    def _complete(self, record: Record) -> Record:
        """The record with every claim of the schema; what the mapping leaves out is unknown."""
        if not set(record.values) <= set(self._schema.claims):
            raise Malformed(
                "UNKNOWN_CLAIM", f"schema {self._schema.id} lacks a claim of the mapping"
            )
        complete = replace(record, values=dict.fromkeys(self._schema.claims) | dict(record.values))
        self._schema.verify_values(complete.values)
        return complete

    def _sign(self, records: Sequence[tuple[Record, SubjectId]]) -> None:
        outbox, schema_id = self._provider._outbox, self._schema.id
        accounts = [record.account for record, _ in records]
        newest = outbox.newest(schema_id, accounts)
        heads = self._heads([account for account in accounts if account not in newest])
        heads |= {account: (item.seq, item.token_id) for account, item in newest.items()}
        outbox.add(self._issue(self._fresh(records, newest), heads))

    def _fresh(
        self, records: Sequence[tuple[Record, SubjectId]], newest: Mapping[str, Item]
    ) -> list[tuple[Record, SubjectId, bytes]]:
        """What must be attested, with its basis; the others are counted or rejected."""
        places = [(record.account, record.as_of) for record, _ in records]
        known = self._provider._outbox.newest_of_days(self._schema.id, places)
        days = {account: item.as_of for account, item in newest.items()}
        fresh = []
        for (record, subject), place in zip(records, places, strict=True):
            basis = record.basis(self._schema.id)
            if self._is_settled(record, basis, known.get(place)):
                continue
            if record.as_of < days.get(record.account, record.as_of):
                self._reject(record, "OUTDATED", "a newer record of the account was attested")
                continue
            days[record.account] = record.as_of
            fresh.append((record, subject, basis))
        return fresh

    def _is_settled(self, record: Record, basis: bytes, known: Item | None) -> bool:
        """Whether this run or an earlier one knows what to say of the account and day."""
        place = (record.account, record.as_of)
        if place in self._said:
            if self._said[place] == basis:
                self.already += 1
            else:
                self._reject(record, "CONTRADICTION", "a row before says otherwise of this day")
            return True
        self._said[place] = basis
        if known is None or known.basis != basis:
            return False
        self.already += place not in self._resumed  # those are among the accepted
        return True

    def _reject(self, record: Record, reason: str, message: str) -> None:
        self.rejected.append(RejectedRow(record.line, reason, message))

    def _heads(self, accounts: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """The service's heads of accounts that the outbox does not know: it may be a new outbox."""
        if not accounts:
            return {}
        request = pb.ListChainHeadsRequest(schema_digest=self._schema.digest, accounts=accounts)
        reply = call(self._provider._attestations.ListChainHeads, request)
        return {head.account: (head.seq, head.token_id) for head in reply.heads}

    def _issue(
        self,
        records: Sequence[tuple[Record, SubjectId, bytes]],
        heads: dict[str, tuple[int, bytes]],
    ) -> list[Item]:
        subs = self._provider.pseudonyms([subject for _, subject, _ in records])
        items = []
        for (record, _, basis), sub in zip(records, subs, strict=True):
            seq, prev = heads.get(record.account, (0, bytes(32)))
            statement = self._statement(record, sub=sub, seq=seq + 1, prev=prev, basis=basis)
            item = self._item(statement, record.line)
            heads[record.account] = (item.seq, item.token_id)
            items.append(item)
        return items

    def _statement(
        self, record: Record, *, sub: bytes, seq: int, prev: bytes, basis: bytes
    ) -> Statement:
        now = _now()
        return Statement(
            schema=self._schema,
            issuer=self._provider.id,
            issued_at=now,
            expires_at=now + LIFE_S,
            jti=secrets.token_bytes(JTI_BYTES),
            sub=sub,
            as_of=record.as_of,
            currency=record.currency,
            values=record.values,
            account=record.account,
            seq=seq,
            prev=prev,
            basis=basis,
        )

    def _item(self, statement: Statement, line: int) -> Item:
        opening = Opening(statement, secrets.token_bytes(SEED_BYTES))
        token = issue(opening, self._provider._signer)
        return Item(
            schema_id=statement.schema.id,
            account=statement.account,
            as_of=statement.as_of,
            seq=statement.seq,
            token_id=jws.token_id(token),
            sub=statement.sub,
            basis=statement.basis or b"",
            package=pack(token, opening),
            line=line,
        )

    # -- sending

    def _send(self, items: Sequence[Item]) -> None:
        provider = self._provider
        route = Route(provider.trust.bundle.domain, provider.id)
        sealed = provider.trust.sealing_key.seal([item.package for item in items], route)
        reply = call(
            provider._attestations.SubmitAttestations,
            pb.SubmitAttestationsRequest(sealed_batch=sealed),
        )
        if len(reply.results) != len(items):
            raise DataLoss("BAD_REPLY", "the service gave another number of results than items")
        pairs = list(zip(items, reply.results, strict=True))
        self._settle_receipts([(i, r.receipt) for i, r in pairs if r.HasField("receipt")])
        self._settle_errors([(i, r.error) for i, r in pairs if not r.HasField("receipt")])

    def _settle_receipts(self, pairs: Sequence[tuple[Item, pb.Receipt]]) -> None:
        for item, receipt in pairs:
            if (receipt.token_id, receipt.sub) != (item.token_id, item.sub):
                raise DataLoss(
                    "MISFILED", "the service filed an attestation under another borrower"
                )
        receipts = [(item.token_id, receipt.log_index) for item, receipt in pairs]
        self._provider._outbox.mark_accepted(receipts)
        self.accepted += len(receipts)

    def _settle_errors(self, pairs: Sequence[tuple[Item, pb.ItemError]]) -> None:
        """Keep refusals. What only came too late is signed anew, chained to what is left of its
        account; else each would break the chain of the one after it.
        """
        heads: dict[tuple[str, str], tuple[int, bytes]] = {}
        refused: set[bytes] = set()
        instead = []
        for item, error in pairs:
            package, chain = parse_package(item.package), (item.schema_id, item.account)
            head = heads.setdefault(chain, (item.seq - 1, package.prev))
            if self._is_curable(package, error.reason, refused):
                new = self._signed_anew(item, package, head)
                heads[chain] = (new.seq, new.token_id)
                instead.append(new)
            else:
                self.rejected.append(RejectedRow(item.line, error.reason, error.message))
            refused.add(item.token_id)
        refusals = [(item.token_id, error.reason) for item, error in pairs]
        self._provider._outbox.mark_rejected(refusals, instead)

    def _is_curable(self, package: Package, reason: str, refused: Set[bytes]) -> bool:
        """Whether signing anew helps: it waited too long, or the one before it was refused.

        A token of this very run that is too old tells that our clock is wrong.
        """
        if reason == "TOO_OLD":
            return package.token.issued_at < self._started
        return reason == "CHAIN_BROKEN" and package.prev in refused

    def _signed_anew(self, item: Item, package: Package, head: tuple[int, bytes]) -> Item:
        """The same content, signed today, as the next of its chain."""
        schema = self._provider.trust.schemas[package.token.schema_digest]
        now = _now()
        statement = replace(
            package.opening(schema).statement,
            issued_at=now,
            expires_at=now + LIFE_S,
            jti=secrets.token_bytes(JTI_BYTES),
            seq=head[0] + 1,
            prev=head[1],
        )
        return self._item(statement, item.line)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_ITEMS_MAX)):
        yield batch


def _now() -> int:
    return int(time.time())
