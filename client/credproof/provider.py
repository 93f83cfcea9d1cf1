"""The provider's SDK: sign what you know, submit it, never twice and never half.

with Provider.open(Path("my-bank")) as provider:
    mapping = parse_mapping(Path("mapping.yaml").read_bytes())
    report = provider.submit(read_records(Path("cards.csv"), mapping, day_of_run=today),
                             schema_id=mapping.schema_id)
    print(report.accepted, "accepted,", len(report.rejected), "rejected")
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from credproof.attestation.pseudonym import SubjectId
from credproof.attestation.sealing import Route
from credproof.attestation.withdrawal import KEY_LOST, sign_withdrawal
from credproof.base.encoding import b64url
from credproof.base.errors import Conflict, DataLoss, Malformed, Refused, VerificationFailed
from credproof.base.limits import BATCH_ITEMS_MAX, CHAIN_HEADS_MAX, CLOCK_SKEW_S
from credproof.base.members import Members
from credproof.base.vrf import Output
from credproof.channel import call, connect
from credproof.filed import FilingReport, NotFiled, denied, fault_of
from credproof.history import fetch_history
from credproof.home import Home
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.pseudonyms import Pseudonyms
from credproof.records.mapping import Record
from credproof.records.outbox import Item, Outbox
from credproof.records.reader import RejectedRow
from credproof.roots import state_folder
from credproof.session import Session
from credproof.submission.attester import Attester, Head, Here, Processes, Workers, batches
from credproof.submission.run import Run
from credproof.submission.sender import Sender
from credproof.updating.metadata import provider_role
from credproof.updating.own_keys import is_released, keep_key_set, key_ids, key_set_in_force
from credproof.updating.seen import compared, forked
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1 import registry_service_pb2 as registry_pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.v1.registry_service_pb2_grpc import RegistryServiceStub
from credproof.verification.bundle import RelyingParty
from credproof.verification.document import POSSESSION, Signature, verify_document
from credproof.verification.registry import ListedKey, keys_of
from credproof.wire import answer as answer_wire

KEY_BINDING = "key-binding/1"
POSSESSION_AGE_MAX_S = 600
"""How old a borrower's proof of possession may be."""

Progress = Callable[[int], None]


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
class NotWithdrawn:
    """An account whose newest attestation was not withdrawn, and why."""

    account: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class WithdrawReport:
    """How many attestations count no more, and the accounts that could not be withdrawn."""

    withdrawn: int
    refused: tuple[NotWithdrawn, ...]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run of `submit`: its name, its schema, how many attestations by state."""

    run: str
    schema_id: str
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Bound:
    """A borrower's key is bound: the pseudonym that the borrower must know."""

    sub: bytes
    kid: str


def publish_keys(home: Home, data: bytes) -> None:
    """Put a key set in force that `sign_keys` made.

    Needs no trust bundle: where a restore lost the key set, there is none to be had before.

    Raises:
        Malformed: `BAD_METADATA`.
        Conflict: `TUF_VERSION`, `NO_TUF`.
        VerificationFailed: `TUF_NOT_SIGNED`, `KEY_NOT_SIGNED`, `KEYS_NOT_CONTINUED`,
            `TUF_EXPIRED`.
    """
    item = registry_pb.RoleMetadata(role=provider_role(home.settings.id), metadata=data)
    request = registry_pb.PublishTrustMetadataRequest(items=[item])
    with connect(home) as channel:
        call(RegistryServiceStub(channel).PublishTrustMetadata, request)
    keep_key_set(home, data)


class Provider(Session):
    """A data provider at work. Not safe to share between threads.

    Its outbox lies in its home; one process at a time can use it.
    """

    def __init__(self, home: Home) -> None:
        self._outbox = Outbox(home.folder / "outbox.db")
        try:
            self._kept = home.package()
            super().__init__(home)
            self._signer = home.signer
        except BaseException:
            self._outbox.close()
            raise
        self._attestations = AttestationServiceStub(self._channel)
        self._pseudonyms = Pseudonyms(home, self._channel, self.trust)
        self._attester = Attester(self.id, self._signer, self.trust, self._pseudonyms)

    def close(self) -> None:
        """Let go of the connections and the outbox."""
        self._pseudonyms.close()
        super().close()
        self._outbox.close()

    def registered_keys(
        self, progress: Progress = lambda _count: None
    ) -> tuple[Sequence[ListedKey], VerifiedCheckpoint]:
        """Every key that the registry ever listed for this provider, in its whole history.

        Each version is proved to be the one that the log names, up to the newest checkpoint. Where
        the home had another bundle under its version, both are kept: `forked_versions`.

        Raises:
            VerificationFailed: as `fetch_history` and `checkpoint`.
        """
        checkpoint, newest = self.checkpoint(), self.trust.bundle.version
        root, kept = self._home.roots, self._kept.verify(self._home.roots, at=0)
        history = fetch_history(self._channel, newest, checkpoint, root, progress)
        folder = state_folder(self._home.folder, self._home.settings.root)
        return keys_of(self.id, compared(history, kept, folder)), checkpoint

    def signed_keys(self) -> tuple[str, ...] | None:
        """The fingerprints of the key set that this provider signed, and that is in force.

        None when there is none: then the root key alone decides which keys are the provider's.
        """
        found = key_set_in_force(self._home)
        return None if found is None else key_ids(found)

    def is_released(self) -> bool:
        """Whether two people said in a root that this provider begins anew: its key set of before
        binds nobody any more."""
        return is_released(self._home)

    def forked_versions(self) -> list[int]:
        """The versions of which this home was given two trust bundles, and keeps both."""
        return forked(state_folder(self._home.folder, self._home.settings.root))

    def pseudonyms(self, subjects: Sequence[SubjectId]) -> list[bytes]:
        """The pseudonyms of these ids, in order. Holders of the key see blinded elements only.

        Raises:
            CredproofError: as `Pseudonyms.of`.
        """
        return self._attester.pseudonyms(subjects)

    # -- submitting

    def submit(
        self,
        records: Iterable[Record | RejectedRow],
        *,
        schema_id: str,
        processes: int = 1,
        progress: Progress = lambda _count: None,
    ) -> SubmitReport:
        """Attest records: sign, keep in the outbox, seal, submit, check the receipts.

        A record that was attested before is not attested again; one that was signed but got no
        receipt is sent as the same bytes. So the same file may be submitted again at any time,
        also after a crash, and sends only what is missing. What makes a record the same is
        account, `as_of` and content. Signing is CPU work: `processes` is in how many it is done.
        `progress` is called with how many more records were taken.

        Lenders are answered from the newest attestation of an account, so give the records of
        one account in the order of their days:

        - another content for the newest day, or a newer day, continues the account's chain;
        - an older day that was not attested, or otherwise, is rejected as `OUTDATED`: attested
          now, it would stand in for the newer figures. A correction belongs in the newest record;
        - a record that was withdrawn as it stands is rejected as `WITHDRAWN`;
        - two records of one account and day that differ in one call: the second is rejected as
          `CONTRADICTION`, since nobody could say which of them holds.

        This compares with the outbox. Without one (a new machine) chains go on where the service
        stands, and records are attested once more.

        Raises:
            Malformed: `UNKNOWN_SCHEMA`, `UNKNOWN_CLAIM` for the records as a whole.
            DataLoss: `MISFILED` when the service filed an attestation under another borrower.
            CredproofError: when the service refuses a whole batch or does not answer.
        """
        workers = Here(self._attester) if processes == 1 else self._processes(processes)
        run = self._run(schema_id, workers)
        try:
            run.resume()
            for batch in batches(records):
                run.take(batch)
                progress(len(batch))
            run.finish()
        finally:
            workers.close()
            self._sender.close()
        tally = run.tally
        return SubmitReport(tally.accepted, tally.already, tuple(tally.rejected))

    def _processes(self, count: int) -> Workers:
        return Processes(self._home.folder, count)

    def _run(self, schema_id: str, workers: Workers) -> Run:
        schema, trust = self.trust.schema(schema_id), self.trust
        route = Route(trust.bundle.domain, self.id)
        self._sender = Sender(self._attestations, trust.sealing_key, route)
        return Run(
            self._outbox,
            schema,
            attester=self._attester,
            workers=workers,
            sender=self._sender,
            heads=lambda accounts: self._heads(schema.digest, accounts),
        )

    def _heads(self, schema_digest: bytes, accounts: Sequence[str]) -> dict[str, Head]:
        """The service's heads of accounts, where they have one."""
        found: dict[str, Head] = {}
        for start in range(0, len(accounts), CHAIN_HEADS_MAX):
            request = pb.ListChainHeadsRequest(
                schema_digest=schema_digest, accounts=accounts[start : start + CHAIN_HEADS_MAX]
            )
            reply = call(self._attestations.ListChainHeads, request)
            found |= {head.account: (head.seq, head.token_id) for head in reply.heads}
        return found

    # -- withdrawing

    def runs(self) -> list[RunSummary]:
        """The runs that this outbox knows, oldest first."""
        found: dict[tuple[str, str], dict[str, int]] = {}
        for run, schema_id, state, count in self._outbox.runs():
            found.setdefault((run, schema_id), {})[state] = count
        return [RunSummary(*key, counts) for key, counts in sorted(found.items())]

    def withdraw(self, accounts: Sequence[str], *, schema_id: str, reason: str) -> WithdrawReport:
        """Take the newest attestations of accounts back.

        Once this returns, the service gives no answer that rests on them. `reason` is error,
        wrong-person, closed or transferred. An account without an attestation is refused as
        `NO_SUCH_ATTESTATION`.

        Raises:
            Malformed: `UNKNOWN_SCHEMA`, `BAD_REASON`.
        """
        heads = self._heads(self.trust.schema(schema_id).digest, accounts)
        unknown = [
            NotWithdrawn(name, "NO_SUCH_ATTESTATION", "the account has no attestation")
            for name in accounts
            if name not in heads
        ]
        tokens = [(name, token_id) for name, (_seq, token_id) in heads.items()]
        return self._withdraw(tokens, reason, unknown)

    def withdraw_run(self, run: str, *, reason: str) -> WithdrawReport:
        """Take back all that a run attested and nothing has superseded.

        Raises:
            Malformed: `UNKNOWN_RUN`, `BAD_REASON`.
        """
        items = self._outbox.of_run(run)
        if not items:
            raise Malformed("UNKNOWN_RUN", "no attestation of such a run counts: see provider runs")
        tokens = [(item.account, item.token_id) for item in items]
        return self._withdraw(tokens, reason, [])

    def self_check(self, progress: Progress = lambda _count: None) -> FilingReport:
        """Verify that all that was accepted is filed where it belongs; what is not is listed.

        Raises:
            VerificationFailed: the checkpoint is not the log's.
        """
        checked, last = 0, -1
        faults: list[NotFiled] = []
        while items := self._outbox.accepted(last, BATCH_ITEMS_MAX):
            faults += self._faults(items)
            checked, last = checked + len(items), max(item.log_index or 0 for item in items)
            progress(len(items))
        return FilingReport(checked, tuple(faults))

    def _faults(self, items: Sequence[Item]) -> list[NotFiled]:
        """What is wrong with these; what is not shown is looked for by halves."""
        reply, half = self._show_filed(items), len(items) // 2
        if reply is None and half:
            return self._faults(items[:half]) + self._faults(items[half:])
        if reply is None:
            return [denied(items[0])]
        key = self.trust.log_key
        checkpoint = verify_checkpoint(reply.checkpoint, key.name, [key])
        found = (self._fault(*pair, checkpoint) for pair in zip(items, reply.items, strict=True))
        return [fault for fault in found if fault is not None]

    def _show_filed(self, items: Sequence[Item]) -> pb.ShowFiledResponse | None:
        """None when the service does not show all of them."""
        request = pb.ShowFiledRequest(token_ids=[item.token_id for item in items])
        try:
            reply: pb.ShowFiledResponse = call(self._attestations.ShowFiled, request)
        except DataLoss:
            return None
        except Refused as error:
            if error.reason != "NO_SUCH_ATTESTATION":
                raise
            return None
        return reply if len(reply.items) == len(items) else None

    def _fault(
        self, item: Item, shown: pb.FiledAttestation, checkpoint: VerifiedCheckpoint
    ) -> NotFiled | None:
        before, logged = self._outbox.before(item), answer_wire.logged(shown.logged)
        output = Output(shown.element, shown.proof)
        return fault_of(item, before, logged, output, checkpoint, self.trust)

    def _withdraw(
        self, tokens: Sequence[tuple[str, bytes]], reason: str, refused: list[NotWithdrawn]
    ) -> WithdrawReport:
        withdrawn = 0
        for batch in batches(tokens):
            request = pb.WithdrawAttestationsRequest(
                withdrawals=[self._signed_withdrawal(token_id, reason) for _, token_id in batch]
            )
            reply = call(self._attestations.WithdrawAttestations, request)
            pairs = list(zip(batch, reply.results, strict=True))
            gone = [token_id for (_, token_id), result in pairs if result.HasField("receipt")]
            self._outbox.mark_withdrawn([(token_id, reason) for token_id in gone])
            withdrawn += len(gone)
            refused += [
                NotWithdrawn(account, result.error.reason, result.error.message)
                for (account, _), result in pairs
                if not result.HasField("receipt")
            ]
        return WithdrawReport(withdrawn, tuple(refused))

    def _signed_withdrawal(self, token_id: bytes, reason: str) -> str:
        return sign_withdrawal(
            self._signer,
            issuer=self.id,
            service=self.trust.bundle.domain,
            token=token_id,
            reason=reason,
            now=_now(),
        )

    # -- keys of borrowers

    def bind(self, possessions: Sequence[tuple[str, str]]) -> list[Bound]:
        """Bind borrowers' keys, given ids (`scheme:value`) and proofs of possession.

        The caller must know that the person who gave the proof is the one with that id.

        Raises:
            VerificationFailed: a proof is not for this provider, or too old.
            Malformed: a binding was refused, with the reason why.
        """
        return self._bind([(*pair, None) for pair in possessions])

    def replace_key(self, subject_id: str, possession: str, *, lost: str) -> Bound:
        """Bind a new key in the place of the lost one with the fingerprint `lost`.

        The lost key is ended before this binds the new one, for all providers; consents that
        only it signed pause until the new key signs them too.

        Raises:
            Conflict: `NO_SUCH_BINDING`; and as `bind`.
        """
        replaced = self._freeze(lost)
        return self._bind([(subject_id, possession, replaced)])[0]

    def freeze(self, kid: str) -> None:
        """End a key that was reported lost, by its fingerprint: for all providers, and at once.

        Raises:
            Conflict: `NO_SUCH_BINDING`, or as the service refuses.
        """
        self._freeze(kid)

    def _freeze(self, kid: str) -> bytes:
        """The id of the binding that counts no more."""
        account = _account(kid)
        heads = self._heads(self.trust.schema(KEY_BINDING).digest, [account])
        if account not in heads:
            raise Conflict("NO_SUCH_BINDING", "you have not bound a key with this fingerprint")
        token_id = heads[account][1]
        for refused in self._withdraw([(account, token_id)], KEY_LOST, []).refused:
            raise Conflict(refused.reason, refused.message)
        return token_id

    def _bind(self, wanted: Sequence[tuple[str, str, bytes | None]]) -> list[Bound]:
        now = _now()
        parties = self.trust.bundle.relying_parties_at(now)
        proofs = [
            verify_possession(proof, provider=self.id, now=now, parties=parties)
            for _, proof, _ in wanted
        ]
        records = [
            _binding_record(line, subject_id, proof, replaced)
            for line, ((subject_id, _, replaced), proof) in enumerate(
                zip(wanted, proofs, strict=True)
            )
        ]
        report = self.submit(records, schema_id=KEY_BINDING)
        accounts = [record.account for record in records]
        items = self._outbox.newest(KEY_BINDING, accounts)
        refused = {row.line: row for row in report.rejected}
        for record in records:
            item = items.get(record.account)
            bound = (record.basis(KEY_BINDING), "accepted")
            if item is None or (item.basis, item.state) != bound:
                row = refused[record.line]
                raise Malformed(row.reason, row.message)
        pairs = zip(accounts, proofs, strict=True)
        return [Bound(items[name].sub, proof.key.kid) for name, proof in pairs]


def _account(kid: str) -> str:
    return f"key-{kid}"


def _binding_record(line: int, subject_id: str, proof: Signature, replaced: bytes | None) -> Record:
    key = proof.key
    return Record(
        line=line,
        subject=subject_id,
        account=_account(key.kid),
        as_of=dt.datetime.now(dt.UTC).date(),
        currency=None,
        values={
            "jwk": key.jwk(),
            "method": "PASSKEY" if proof.rp_id else "SOFTWARE",
            "rp_id": proof.rp_id or None,
            "replaces": None if replaced is None else b64url(replaced),
        },
    )


def verify_possession(
    text: str, *, provider: str, now: int, parties: Sequence[RelyingParty] = ()
) -> Signature:
    """The borrower's key out of a fresh proof of possession made for this provider.

    Raises:
        Malformed, VerificationFailed: as `verify_document`; `OTHER_PROVIDER`, `PROOF_TOO_OLD`.
    """
    document = verify_document(text, POSSESSION, parties)
    members = Members(document.claims, "proof of possession")
    audience, issued_at = members.take("aud", str), members.take("iat", int)
    members.finish()
    if audience != provider:
        raise VerificationFailed("OTHER_PROVIDER", "the proof was made for another provider")
    if not now - POSSESSION_AGE_MAX_S <= issued_at <= now + CLOCK_SKEW_S:
        raise VerificationFailed("PROOF_TOO_OLD", "the proof of possession is too old")
    if len(document.signatures) != 1:
        raise Malformed("NOT_ONE_KEY", "a proof of possession is by one key")
    return document.signatures[0]


def _now() -> int:
    return int(time.time())
