"""One run of a submission: plan, attest, keep in the outbox, send, settle."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import Future
from typing import Final

from credproof.attestation.package import Package, parse_package
from credproof.attestation.schema import Schema
from credproof.base.limits import BATCH_ITEMS_MAX
from credproof.filed import require_own
from credproof.records.mapping import Record
from credproof.records.outbox import Item, Outbox
from credproof.records.reader import RejectedRow
from credproof.submission.attester import Attester, Head, Job, Workers
from credproof.submission.plan import Plan, Tally
from credproof.submission.sender import Sender
from credproof.v1 import attestation_service_pb2 as pb

SENT_AHEAD: Final = 2
"""Batches on their way while more are signed: the service works meanwhile."""
LEFT_MAX: Final = 16 * BATCH_ITEMS_MAX
"""More items than any run leaves behind: it has only so many batches on their way."""

Heads = Callable[[Sequence[str]], dict[str, Head]]
"""Asks the service for the heads of accounts."""


class Run:
    """Takes records batch by batch; what it was doing when it stopped, the next run resumes.

    Two batches that are on their way never share an account, so a refusal concerns one batch.
    """

    def __init__(
        self,
        outbox: Outbox,
        schema: Schema,
        *,
        attester: Attester,
        workers: Workers,
        sender: Sender,
        heads: Heads,
    ) -> None:
        self.tally = Tally()
        self._outbox = outbox
        self._schema = schema
        self._attester = attester
        self._workers = workers
        self._sender = sender
        self._heads = heads
        self._plan = Plan(outbox, schema, self.tally)
        self._started = attester.clock()
        self._name = run_name(self._started)
        self._signing: deque[Future[list[Item]]] = deque()
        self._on_their_way: set[str] = set()

    def resume(self) -> None:
        """Send what an earlier run signed and got no receipt for."""
        left = self._outbox.pending(LEFT_MAX)
        ours = [item for item in left if item.schema_id == self._schema.id]
        self._plan.resumed = frozenset((item.account, item.as_of) for item in ours)
        self._send_pending()

    def take(self, batch: Sequence[Record | RejectedRow]) -> None:
        """Begin with a batch; it may go on while later ones are taken."""
        self.tally.rejected += [item for item in batch if isinstance(item, RejectedRow)]
        records = self._plan.valid([item for item in batch if isinstance(item, Record)])
        accounts = {record.account for record in records}
        if accounts & self._on_their_way:
            self.finish()
        fresh = self._plan.fresh(records)
        if not fresh:
            return
        self._on_their_way |= {record.account for record, _ in fresh}
        self._signing.append(self._workers.attest(self._job(fresh)))
        while len(self._signing) >= self._workers.count:
            self._keep_and_send()

    def finish(self) -> None:
        """Wait until everything that was taken is settled."""
        while self._signing:
            self._keep_and_send()
        self._settle(down_to=0)
        self._send_pending()
        self._on_their_way.clear()

    def _job(self, fresh: Sequence[tuple[Record, bytes]]) -> Job:
        accounts = list(dict.fromkeys(record.account for record, _ in fresh))
        newest = self._outbox.newest(self._schema.id, accounts)
        heads = self._heads([account for account in accounts if account not in newest])
        heads |= {account: (item.seq, item.token_id) for account, item in newest.items()}
        return Job(self._schema.id, self._name, tuple(fresh), heads)

    def _keep_and_send(self) -> None:
        items = self._signing.popleft().result()
        self._outbox.add(items)
        self._sender.send(items)
        self._settle(down_to=SENT_AHEAD)

    def _send_pending(self) -> None:
        """Send what waits in the outbox, one batch after the other: they may share accounts."""
        while items := self._outbox.pending(BATCH_ITEMS_MAX):
            self._sender.send(items)
            self._settle(down_to=0)

    # -- settling

    def _settle(self, *, down_to: int) -> None:
        while self._sender.waiting > down_to:
            pairs = self._sender.result()
            self._settle_receipts([(i, r.receipt) for i, r in pairs if r.HasField("receipt")])
            errors = [(i, r.error) for i, r in pairs if not r.HasField("receipt")]
            again = self._settle_errors(errors)
            self._on_their_way -= {item.account for item, _ in pairs} - again

    def _settle_receipts(self, pairs: Sequence[tuple[Item, pb.Receipt]]) -> None:
        for item, receipt in pairs:
            require_own(item, receipt.token_id, receipt.sub)
        self._outbox.mark_accepted([(item.token_id, r.log_index) for item, r in pairs])
        self.tally.accepted += self._count_ours(item for item, _ in pairs)

    def _count_ours(self, items: Iterable[Item]) -> int:
        return sum(item.schema_id == self._schema.id for item in items)

    def _settle_errors(self, pairs: Sequence[tuple[Item, pb.ItemError]]) -> set[str]:
        """Keep refusals; gives the accounts of what is to be sent again.

        What only came too late is signed anew, chained to what is left of its account; else each
        would break the chain of the one after it.
        """
        if not pairs:
            return set()
        heads: dict[tuple[str, str], Head] = {}
        refused: set[bytes] = set()
        instead = []
        for item, error in pairs:
            package, account = parse_package(item.package), (item.schema_id, item.account)
            head = heads.setdefault(account, (item.seq - 1, package.prev))
            if self._is_curable(package, error.reason, refused):
                new = self._attester.sign_anew(item, package, head)
                heads[account] = (new.seq, new.token_id)
                instead.append(new)
            else:
                self.tally.rejected.append(RejectedRow(item.line, error.reason, error.message))
            refused.add(item.token_id)
        refusals = [(item.token_id, error.reason) for item, error in pairs]
        self._outbox.mark_rejected(refusals, instead)
        return {item.account for item in instead}

    def _is_curable(self, package: Package, reason: str, refused: Set[bytes]) -> bool:
        """Whether signing anew helps: it waited too long, or the one before it was refused.

        A token of this very run that is too old tells that our clock is wrong.
        """
        if reason == "TOO_OLD":
            return package.token.issued_at < self._started
        return reason == "CHAIN_BROKEN" and package.prev in refused


def run_name(started: int) -> str:
    """A name of its own for a run that started at a time: 20261124T093000Z-1f9c."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started)) + "-" + secrets.token_hex(2)
