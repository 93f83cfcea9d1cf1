"""Asking about the borrowers of a whole file; a rerun goes on where the last run ended.

What becomes of a row, and what a crash after each step leaves:

 1  Its answer file exists, verifies and is this row's: nothing is asked.
 2  The journal knows it: it is put again with the same nonce and request id. Else it is prepared
    and in the journal, durably, before it is sent. A crash from here on leads to 2: the service
    gives the answer it gave, or answers now, and a consent for one answer is not lost.
 3  Its answer is verified, and durable in its file. A crash leads to 1.
 4  The journal forgets what is answered or refused. What did not verify stays, and what still lacks
    witnesses that its policy requires, though that has its file: it is put again.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from credproof.asking import Asked
from credproof.base.errors import Conflict, CredproofError, Malformed, Refused
from credproof.base.limits import ASK_ITEMS_MAX
from credproof.cli.output import err, progress_bar
from credproof.files import replace_file
from credproof.lender import KeptAnswer, Lender
from credproof.records.asks import Ask, AskRow, read_asks
from credproof.records.journal import Journal
from credproof.records.reader import RejectedRow, count_rows
from credproof.verification.answer import AnswerBundle
from credproof.verification.report import report
from credproof.verification.verify import VerifiedAnswer
from credproof.wire import answer as answer_wire
from credproof.wire import ask as ask_wire
from credproof.witnessing import WITNESS_WAIT_S, Pending

JOURNAL: Final = "asked.db"
"""The journal in the lender's home: another output directory does not lose what was asked."""
REFUSED: Final = (Refused, Conflict)
"""Errors after which no answer exists under the request id."""

FAILED: Final = "failed"
"""How rows are counted that have no answer; all others by the state of their completeness."""

Told = VerifiedAnswer | CredproofError


def ask_file(
    home: Path, file: Path, *, policy_id: str, folder: Path, quiet: bool, wait_s: float
) -> int:
    """Ask about every row of `file`, print a line of JSON for each, and on stderr how many are in
    part; gives how many failed.

    Raises:
        Malformed: `BAD_FILE`.
        Unreachable: the service does not answer; a rerun goes on.
    """
    total, states = count_rows(file), Counter[str]()
    folder.mkdir(parents=True, exist_ok=True)
    bar = progress_bar("asking", total, hidden=quiet)
    with Lender.open(home) as lender, Journal(home / JOURNAL) as journal, bar as advance:
        lender.witness_wait_s = wait_s
        for line in Run(lender, journal, folder).lines(read_asks(file, policy_id=policy_id)):
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
            sys.stdout.flush()
            states[line.get("completeness", {}).get("state", FAILED)] += 1
            advance(1)
    if states["partial"] and not quiet:
        _print_partial(states)
    return states[FAILED]


def _print_partial(states: Counter[str]) -> None:
    count = states.total() - states[FAILED]
    says = "current attestations are left out, completeness says how many"
    err.print(f"in part: {states['partial']} of {count} answers: {says}")


def ask_once(home: Path, ask: Ask, output: Path, *, wait_s: float = WITNESS_WAIT_S) -> KeptAnswer:
    """Ask about one borrower, and keep the answer in `output`, also one that is pending.

    Interrupted anywhere, asking the same again brings the answer that was given.

    Raises:
        CredproofError: there is no answer, or it does not verify.
    """
    with Lender.open(home) as lender, Journal(home / JOURNAL) as journal:
        lender.witness_wait_s = wait_s
        run = Run(lender, journal, output.parent)
        asked = run.prepare([ask])[0]
        if isinstance(asked, CredproofError):
            raise asked
        result = lender.put([asked])[0]
        if isinstance(result, KeptAnswer | Pending):
            replace_file(output, result.to_bytes())
        if isinstance(result, (KeptAnswer, *REFUSED)):
            journal.drop([ask.key])
        if isinstance(result, CredproofError):
            raise result
        return result


class Run:
    """One run over the rows of a file. `folder` is where answers are kept."""

    def __init__(self, lender: Lender, journal: Journal, folder: Path) -> None:
        self._lender = lender
        self._journal = journal
        self._folder = folder

    def lines(self, rows: Iterable[AskRow | RejectedRow]) -> Iterator[dict[str, Any]]:
        """What became of each row, in order; a chunk of rows is in memory, no more.

        Raises:
            CredproofError: a whole batch was not answered.
        """
        for chunk in _chunks(rows):
            known = [self._known(row) for row in chunk]
            pairs = [(r, t) for r, t in zip(chunk, known, strict=True) if isinstance(r, AskRow)]
            self._forget([row for row, told in pairs if isinstance(told, VerifiedAnswer)])
            asked = iter(self._ask([row for row, told in pairs if told is None]))
            for row, told in zip(chunk, known, strict=True):
                yield _line(row, told or next(asked), already=told is not None)

    def _path(self, row: AskRow) -> Path:
        return self._folder / f"{row.name}.answer"

    def _known(self, row: AskRow | RejectedRow) -> Told | None:
        """What is known of a row without asking: it is bad, or its answer is there and verifies."""
        if isinstance(row, RejectedRow):
            return Malformed(row.reason, row.message)
        if not self._path(row).exists():
            return None
        try:
            bundle = answer_wire.parse(self._path(row).read_bytes())
            verified = self._lender.verify(bundle)
        except CredproofError:
            return None  # asked again; only an answer that verifies takes its place
        if asked_in(bundle, verified) != row.ask:
            return Conflict(
                "NAME_TAKEN",
                "the answer file of this name is of another question: name this one otherwise",
            )
        return verified

    def _ask(self, rows: Sequence[AskRow]) -> list[Told]:
        prepared = self.prepare([row.ask for row in rows])
        put = iter(self._lender.put([item for item in prepared if isinstance(item, Asked)]))
        results = [next(put) if isinstance(item, Asked) else item for item in prepared]
        pairs = list(zip(rows, results, strict=True))
        self._keep([(r, item) for r, item in pairs if isinstance(item, KeptAnswer | Pending)])
        settled = (KeptAnswer, *REFUSED)
        self._forget([row for row, item in pairs if isinstance(item, settled)])
        return [item.verified if isinstance(item, KeptAnswer) else item for item in results]

    def prepare(self, asks: Sequence[Ask]) -> list[Asked | CredproofError]:
        """Questions as they are put, all of them in the journal."""
        known = self._journal.find([ask.key for ask in asks])
        new = [ask for ask in asks if ask.key not in known]
        fresh = dict(zip([ask.key for ask in new], self._lender.prepare(new), strict=True))
        own = {k: ask_wire.kept_to_bytes(i.kept) for k, i in fresh.items() if isinstance(i, Asked)}
        kept = {**known, **self._journal.add(own)}  # durable before anything is sent

        def asked(ask: Ask) -> Asked | CredproofError:
            failed = fresh.get(ask.key)
            if isinstance(failed, CredproofError):
                return failed
            data = kept[ask.key]
            return Asked(ask, ask_wire.parse_kept(data), again=data != own.get(ask.key))

        return [asked(ask) for ask in asks]

    def _forget(self, rows: Sequence[AskRow]) -> None:
        self._journal.drop([row.ask.key for row in rows])

    def _keep(self, answers: Sequence[tuple[AskRow, KeptAnswer | Pending]]) -> None:
        """Write answer files; on disk, and so are their names, when it returns."""
        for row, kept in answers:
            replace_file(self._path(row), kept.to_bytes())
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def asked_in(bundle: AnswerBundle, verified: VerifiedAnswer) -> Ask:
    """The question that a verified answer is for."""
    kept = bundle.kept
    assert kept is not None, "an answer without what was kept does not verify"
    return Ask(
        subject=kept.transcript.subject_id,
        policy_id=verified.answer.policy.id,
        consent=bundle.consent,
        case=kept.case.text,
        staff=kept.staff.text,
    )


def _chunks(rows: Iterable[AskRow | RejectedRow]) -> Iterator[list[AskRow | RejectedRow]]:
    """Rows for one call each; of one name only one, so that the next meets its answer file."""
    chunk: list[AskRow | RejectedRow] = []
    names: set[str] = set()
    for row in rows:
        name = row.name if isinstance(row, AskRow) else None
        if len(chunk) == ASK_ITEMS_MAX or name in names:
            yield chunk
            chunk, names = [], set()
        chunk.append(row)
        if name is not None:
            names.add(name)
    if chunk:
        yield chunk


def _line(row: AskRow | RejectedRow, told: Told, *, already: bool) -> dict[str, Any]:
    if isinstance(told, CredproofError):
        reason = {"reason": told.reason, "message": told.message, "step": told.step}
        return {"line": row.line, **reason}
    assert isinstance(row, AskRow), "a bad row has a reason"
    found = report(told)
    return {
        "line": row.line,
        "outcome": found["outcome"],
        "completeness": found["completeness"],
        "file": f"{row.name}.answer",
        "already": already,
    }
