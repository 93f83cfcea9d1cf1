"""`credproof audit unseal` and what follows it: a detail takes two auditors and a reason."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from credproof.auditing.unsealing import Unsealed, Unsealings, UnsealingState
from credproof.auditor import Auditor
from credproof.base.encoding import DAY_S
from credproof.cli.output import (
    FAILED,
    HomeOption,
    JsonOption,
    out,
    plain,
    print_error,
    print_json,
    tell,
)
from credproof.verification.details import VERDICTS

NumberArgument = Annotated[
    int, typer.Argument(metavar="NUMBER", min=0, help="The request, as audit unseals numbers it.")
]


@contextmanager
def _unsealings(home: Path) -> Iterator[Unsealings]:
    """With the log verified up to now."""
    with Auditor.open(home) as auditor:
        for fault in auditor.damage():
            print_error(fault)
        auditor.verify()
        with auditor.unsealings() as found:
            yield found


def unseal(
    index: Annotated[int, typer.Argument(metavar="INDEX", min=0, help="The log entry.")],
    detail: Annotated[
        str,
        typer.Option(
            "--detail",
            metavar="NAME",
            help="Of answer.given: verdicts, answer. Of consent.granted: consent.",
        ),
    ],
    why: Annotated[
        str, typer.Option("--why", metavar="TEXT", help="Why; the other auditors read it.")
    ],
    days: Annotated[int, typer.Option(min=1, max=7, help="How long it stays open, in days.")] = 3,
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Ask to see one detail behind a log entry. Another auditor must approve.

    `verdicts` is what each question of an answer came to, `answer` the signed answer with its tier,
    `consent` what a borrower consented to. The request is signed by you and logged; the log has a
    salted digest of the reason, which has a word at least. At most 16 of your requests wait at a
    time. Verifies the log first. Needs the service.

    \b
    Example:
      credproof audit unseal 812 --detail verdicts --why "complaint 17" --home audit
    """
    with _unsealings(home) as found:
        number = found.ask(index, detail, reason=why, life_s=days * DAY_S)
    if as_json:
        print_json({"number": number})
        return
    out.print(f"Asked:  number {number}, open for {days} {'day' if days == 1 else 'days'}")
    out.print(f"Next:   another auditor runs credproof audit approve {number}")


def unseals(home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """List what auditors asked to unseal, why, who decided, and to whom it was given.

    Each request and decision is verified to be signed by the auditor that the log names. One that
    is not is UNVERIFIED: somebody else wrote it. Verifies the log first. Needs the service.
    With --json the signed documents are there too, for other tools.

    \b
    Example:
      credproof audit unseals --home audit
    """
    with _unsealings(home) as found:
        states, now = found.states(), int(time.time())
    if as_json:
        print_json([_json(item, now) for item in states])
    else:
        for item in states:
            _print(item, now)
        out.print(f"Requests:  {len(states)}")
    if any(item.problem for item in states):
        raise typer.Exit(FAILED)


def approve(number: NumberArgument, home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """Approve another auditor's request: both of you can open the detail then, for its time.

    Read first what audit unseals says of it. Signed by you and logged; it cannot be taken back.
    Verifies the log first. Needs the service.

    \b
    Example:
      credproof audit approve 840 --home second-auditor
    """
    _decide(number, home, approves=True, as_json=as_json)


def decline(number: NumberArgument, home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """Decline another auditor's request: nobody can open the detail under it.

    Signed by you and logged. Verifies the log first. Needs the service.

    \b
    Example:
      credproof audit decline 840 --home second-auditor
    """
    _decide(number, home, approves=False, as_json=as_json)


def _decide(number: int, home: Path, *, approves: bool, as_json: bool) -> None:
    with _unsealings(home) as found:
        index = found.decide(number, approves=approves)
    lines = [f"{'Approved' if approves else 'Declined'}:  number {number}, log entry {index}"]
    if approves:
        lines.append(f"Next:      credproof audit open {number}, you or the auditor who asked")
    told = {"number": number, "approved": approves, "log_index": index}
    tell(told, *lines, as_json=as_json)


def open_detail(
    number: NumberArgument, home: HomeOption = Path(), as_json: JsonOption = False
) -> None:
    """Show the one detail of a request that was approved; that you saw it is logged first.

    It is compared with the digest in its log entry. Verifies the log first. Needs the service.
    Writes nothing: keep what is shown as your rules say.

    \b
    Example:
      credproof audit open 840 --home audit
    """
    with _unsealings(home) as found:
        shown = found.open(number)
    if as_json:
        print_json(_detail(shown))
        return
    out.print(f"Entry:    {shown.entry.seq}, {shown.entry.kind}, by {shown.entry.actor}")
    out.print(f"Detail:   {shown.detail}, as its digest in the entry says")
    for name, value in shown.content.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        out.print(f"          {plain(name)}: {plain(text)}", markup=False)
    if shown.detail == VERDICTS:
        out.print(f"Questions: credproof policy explain {_policy(shown)} says what each asks")
    out.print(f"Logged:   entry {shown.log_index} says that you saw it")


def _policy(shown: Unsealed) -> str:
    """The policy that the unsealed answer names."""
    policy = shown.entry.fields["policy"]
    return plain(str(policy["id"])) if isinstance(policy, dict) else "POLICY"


def _detail(shown: Unsealed) -> dict[str, Any]:
    return {
        "entry": shown.entry.seq,
        "kind": shown.entry.kind,
        "detail": shown.detail,
        "content": dict(shown.content),
        "log_index": shown.log_index,
    }


def _print(item: UnsealingState, now: int) -> None:
    out.print(f"{item.log_index}  {item.state(now)}  asked by {plain(item.auditor)}", markup=False)
    if item.problem:
        out.print(f"    problem: {plain(item.problem)}", markup=False)
    if item.request is not None:
        request = item.request
        when = dt.datetime.fromtimestamp(request.until, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        out.print(f"    {request.detail} of entry {request.log_index}, open until {when}")
        out.print(f"    why: {_why(item.reason)}", markup=False)
    if item.decision is not None:
        word = "approved" if item.decision.approves else "declined"
        out.print(f"    {word} by {plain(item.decision.auditor)}, entry {item.decided_index}")
    for index, auditor in item.given:
        out.print(f"    given to {plain(auditor)}, entry {index}")


def _why(reason: str | None) -> str:
    if reason is None:
        return "not shown: the service says that the borrower was erased"
    return plain(reason) or "none was given"


def _json(item: UnsealingState, now: int) -> dict[str, Any]:
    """A request as JSON; times are whole seconds, the documents JWS."""
    request, decision = item.request, item.decision
    return {
        "number": item.log_index,
        "state": item.state(now),
        "auditor": item.auditor,
        "entry": None if request is None else request.log_index,
        "detail": None if request is None else request.detail,
        "until": None if request is None else request.until,
        "reason": item.reason,
        "decided_by": None if decision is None else decision.auditor,
        "decided_index": item.decided_index,
        "given": [{"log_index": index, "auditor": auditor} for index, auditor in item.given],
        "request": None if request is None else request.jws.token,
        "decision": None if decision is None else decision.jws.token,
        "problem": item.problem or None,
    }
