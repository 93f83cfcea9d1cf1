"""Two auditors unseal a detail over a real service; what does not bear their signatures is seen."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.auditing import unsealing as unsealings
from credproof.auditor import Auditor
from credproof.base.errors import CredproofError, Refused
from credproof.borrower import Borrower
from credproof.channel import call
from credproof.cli import unsealing
from credproof.cli.app import app
from credproof.v1 import audit_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.verification.unsealing import (
    parse_unseal_decision,
    parse_unseal_request,
    require_second,
    sign_unseal_decision,
    sign_unseal_request,
    verify_unsealing,
)
from credproof_server import admission
from typer.testing import CliRunner

from tests.cli import command
from tests.rpc.conftest import AUDITOR, Running
from tests.rpc.registry import changed, participant
from tests.world import signer_of

SECOND = "second-office"


def run(*arguments) -> str:
    """What a command prints."""
    result = CliRunner().invoke(app, [str(item) for item in arguments])
    assert result.exception is None, result.output
    return result.output


class Case:
    """Somebody about whom a question was answered, and the offices of two auditors."""

    def __init__(self, running: Running) -> None:
        self.running = running
        running.world.admit(SECOND, "auditor")
        with running.world.lender() as lender:
            subject_id, consent, self.borrower = running.consented(lender)
            subject = lender.subject(subject_id)
            lender.ask(subject, policy_id="revolving-standing", consent=consent)
        with self.office() as found:
            query = "SELECT max(log_index) FROM entries WHERE kind = :kind"
            at = found._index.select(query, {"kind": "answer.given"})
            self.answered = at[0][0]

    @contextmanager
    def office(self, name: str = AUDITOR):
        """What an auditor does about unsealing, with the log verified up to now."""
        with Auditor.open(self.running.world.home(name)) as auditor:
            auditor.verify()
            with auditor.unsealings() as found:
                yield found

    def asked(self, detail: str = "verdicts", by: str = AUDITOR) -> int:
        with self.office(by) as found:
            return found.ask(self.answered, detail, reason="complaint 17", life_s=3600)


@pytest.fixture(scope="module")
def case(running) -> Case:
    return Case(running)


def reason_of(step, *arguments, **named) -> str:
    with pytest.raises(CredproofError) as caught:
        step(*arguments, **named)
    return caught.value.reason


def test_a_detail_is_unsealed_from_the_command_line(running, case):
    first, second = running.world.home(AUDITOR), running.world.home(SECOND)
    asked = ("audit", "unseal", str(case.answered), "--detail", "answer", "--why", "complaint 9")
    number = str(json.loads(run(*asked, "--home", first, "--json"))["number"])
    listed = run("audit", "unseals", "--home", second)
    assert f"{number}  OPEN  asked by {AUDITOR}" in listed
    assert "why: complaint 9" in listed
    told = json.loads(run("audit", "approve", number, "--json", "--home", second))
    assert (told["number"], told["approved"]) == (int(number), True)
    printed = run("audit", "open", number, "--home", first)
    shown = json.loads(run("audit", "open", number, "--home", first, "--json"))
    check_printed(printed, shown["content"])
    assert (shown["entry"], shown["content"]["outcome"]["tier"]) == (case.answered, "A")
    told = json.loads(run("audit", "unseals", "--home", second, "--json"))
    found = next(item for item in told if item["number"] == int(number))
    assert found["given"] == [{"log_index": shown["log_index"], "auditor": AUDITOR}]
    search = ("audit", "search", "--kind", "detail.unsealed", "--format", "json")
    assert [e["seq"] for e in json.loads(run(*search, "--home", second))] == [shown["log_index"]]
    searched = run("audit", "search", "--kind", "unseal.approved", "--home", second)
    assert f"number {number}" in searched
    with running.world.provider() as provider:
        check_offline(found, provider.trust)


def test_verdicts_are_shown_with_where_their_questions_stand_in_words(running, case):
    first, second = running.world.home(AUDITOR), running.world.home(SECOND)
    asked = ("audit", "unseal", str(case.answered), "--detail", "verdicts", "--why", "complaint 9")
    told = run(*asked, "--days", "1", "--home", first)
    assert "open for 1 day\n" in told
    number = told.split()[2].rstrip(",")
    run("audit", "approve", number, "--home", second)
    shown = run("audit", "open", number, "--home", first)
    assert "policy explain revolving-standing" in shown


def check_printed(told: str, content: dict) -> None:
    """Each member of a detail in a line of its own: a text as it is, else JSON."""
    lines = [line.strip() for line in told.splitlines()]
    for name, value in content.items():
        assert f"{name}: {value if isinstance(value, str) else json.dumps(value)}" in lines


def check_offline(found: dict, trust) -> None:
    """Whoever has the registry checks who asked and who approved: a provider here."""
    request = parse_unseal_request(found["request"])
    decision = parse_unseal_decision(found["decision"])
    verify_unsealing(request, trust)
    verify_unsealing(decision, trust)
    require_second(request, decision)
    assert (request.auditor, decision.auditor) == (AUDITOR, SECOND)


def test_both_auditors_see_the_very_verdicts_and_nothing_else(case):
    number = case.asked()
    with case.office(SECOND) as second:
        second.decide(number, approves=True)
        hers = second.open(number)
    with case.office() as first:
        his = first.open(number)
    assert hers.content == his.content
    assert set(his.content.values()) == {"YES"}
    assert his.log_index != hers.log_index


def test_what_was_declined_stays_closed_and_the_month_counts_it(case, running):
    number = case.asked()
    with case.office(SECOND) as second:
        second.decide(number, approves=False)
    with case.office() as first:
        assert reason_of(first.open, number) == "UNSEAL_DECLINED"
        state = next(item for item in first.states() if item.log_index == number)
        assert state.state(0) == "DECLINED"
        month = first._index.select(
            "SELECT strftime('%Y-%m', max(time), 'unixepoch') FROM entries", {}
        )
    home = running.world.home(AUDITOR)
    told = json.loads(run("audit", "report", "--month", month[0][0], "--home", home, "--json"))
    assert told["unsealed"]["declined"] >= 1
    assert told["findings"] == {}


@pytest.mark.parametrize("word", ["approve", "decline"])
def test_what_has_ended_is_refused_with_what_to_do_and_is_no_finding(
    case, running, monkeypatch, word
):
    number, later = case.asked(), time.time() + 7200
    monkeypatch.setattr(unsealings, "time", SimpleNamespace(time=lambda: later))
    told = command.run("audit", word, str(number), "--home", running.world.home(SECOND), code=2)
    assert told.startswith("error: this request has ended: ")
    assert "(UNSEAL_EXPIRED)" in told
    assert "credproof audit unseal" in told
    assert "whoever made it" not in told


def test_the_borrower_is_told_in_both_languages(case, running):
    number = case.asked()
    with case.office(SECOND) as second:
        second.decide(number, approves=True)
        given = second.open(number)
    told = case.borrower.unsealed()
    last = told[-1]
    assert (last.log_index, last.auditor, last.detail) == (given.log_index, SECOND, "verdicts")
    folder = running.world.home(f"person-{running.count}")
    english = run("borrower", "unsealed", "--language", "en", "--home", folder)
    assert f"{SECOND}: what the questions about you came to\n" in english
    assert f"log entry {case.answered}; given by entry {given.log_index}" in english
    chinese = run("borrower", "unsealed", "--home", folder)
    assert f"{SECOND}：关于您的各项问题的结论\n" in chinese
    assert f"日志第 {case.answered} 条" in chinese
    assert json.loads(run("borrower", "unsealed", "--home", folder, "--json"))[-1]["detail"]


def test_another_borrower_is_told_nothing(case, running):
    _, other = running.person()
    curious = Borrower(other._signer, case.borrower._pass)
    assert other.unsealed() == []
    assert reason_of(curious.unsealed) == "NOT_PERMITTED"


@pytest.mark.parametrize("role", ["lender", "provider"])
@pytest.mark.parametrize("name", ["AskUnseal", "ListUnsealings", "DecideUnseal", "OpenDetail"])
def test_nobody_but_auditors_unseals(running, role, name):
    with getattr(running.world, role)() as session:
        method = getattr(AuditServiceStub(session._channel), name)
        with pytest.raises(Refused):
            call(method, getattr(pb, f"{name}Request")())


def test_two_certificates_of_one_auditor_are_one_auditor(case, running, tmp_path):
    """The other key opens the door under the same name, and the name is what counts."""
    twin = tmp_path / "twin"
    shutil.copytree(running.world.home(AUDITOR), twin)
    said = {"role": "auditor", "participant_id": AUDITOR, "title": "Twin"}
    enrolment = enrolments.enrol_again(twin, **said)
    admitted = admission.admit(running.world.service, enrolment)
    homes.join(twin, admitted.to_bytes(), root_kid=None, now=0)
    first = running.home(AUDITOR)
    assert homes.Home(twin).tls()[2] != first.tls()[2]
    number = case.asked()
    with Auditor.open(twin) as auditor:
        auditor.verify()
        with auditor.unsealings() as found:
            assert reason_of(found.decide, number, approves=True) == "SAME_AUDITOR"
            request = next(i.request for i in found.states() if i.log_index == number)
        said = {"auditor": AUDITOR, "domain": request.domain, "now": request.issued_at}
        said |= {"request": request.id, "approves": True}
        decide = auditor._stub.DecideUnseal
        own = pb.DecideUnsealRequest(decision=sign_unseal_decision(first.signer, **said))
        assert reason_of(call, decide, own) == "SAME_AUDITOR"
        said["auditor"] = SECOND
        other = pb.DecideUnsealRequest(decision=sign_unseal_decision(first.signer, **said))
        assert reason_of(call, decide, other) == "WRONG_ISSUER"


def test_an_auditor_who_is_suspended_asks_and_opens_nothing(case, running):
    number = case.asked()
    with case.office(SECOND) as second:
        second.decide(number, approves=True)
    with case.office() as first:
        with changed(running, participant(SECOND, status="suspended", since=1)):
            assert reason_of(first.open, number) == "AUDITOR_SUSPENDED"
            with pytest.raises(CredproofError) as caught:
                Auditor.open(running.world.home(SECOND))
            assert caught.value.reason == "NOT_PERMITTED"
        assert first.open(number).content


# -- an operator who forges ---------------------------------------------------


@contextmanager
def lying(found, change):
    """From now on what the service shows of requests is changed."""
    honest = found._stub

    def listed(request, **how):
        reply = honest.ListUnsealings(request, **how)
        for item in reply.unsealings:
            change(item)
        return reply

    names = ("AskUnseal", "DecideUnseal", "OpenDetail")
    kept = {name: getattr(honest, name) for name in names}
    found._stub = SimpleNamespace(ListUnsealings=listed, **kept)
    yield
    found._stub = honest


def forged_request(item) -> None:
    """The log names an auditor, and the operator signs in its name."""
    old = parse_unseal_request(item.request)
    item.request = sign_unseal_request(
        signer_of("operator"),
        auditor=old.auditor,
        domain=old.domain,
        now=old.issued_at,
        life_s=old.until - old.issued_at,
        log_index=old.log_index,
        entry=old.entry,
        detail=old.detail,
        reason=old.reason,
    )


def forged_approval(item) -> None:
    old = parse_unseal_decision(item.decision)
    said = {"auditor": old.auditor, "domain": old.domain, "now": old.issued_at}
    said |= {"request": old.request, "approves": True}
    item.decision = sign_unseal_decision(signer_of("operator"), **said)


@pytest.mark.parametrize(
    "lie", ["nothing", "request", "approval", "no approval", "replay", "why", "no salt"]
)
def test_what_two_auditors_did_not_sign_is_seen_by_every_auditor(case, lie):
    numbers = [case.asked("verdicts"), case.asked("answer")]
    with case.office(SECOND) as second:
        for number in numbers:
            second.decide(number, approves=True)
    with case.office() as first:
        shown = {item.log_index: item for item in first._shown()}
        other = shown[numbers[0]].decision

        def change(item) -> None:
            if item.log_index != numbers[1]:
                return
            {
                "nothing": lambda: setattr(item, "log_index", item.log_index + 10**6),
                "request": lambda: forged_request(item),
                "approval": lambda: forged_approval(item),
                "no approval": lambda: setattr(item, "decision", ""),
                "replay": lambda: setattr(item, "decision", other),
                "why": lambda: setattr(item, "reason", "another reason"),
                "no salt": lambda: without_salt(item, "another reason"),
            }[lie]()

        with lying(first, change):
            state = next(item for item in first.states() if item.log_index == numbers[1])
            assert state.state(0) == "UNVERIFIED"
            assert REASONS[lie] in state.problem
            assert reason_of(first.open, numbers[1]) == "UNSEALING_FORGED"


REASONS = {
    "nothing": "UNSEALING_WITHHELD",
    "request": "UNKNOWN_KEY",
    "approval": "UNKNOWN_KEY",
    "no approval": "NOT_A_JWS",
    "replay": "OTHER_REQUEST",
    "why": "OTHER_REASON",
    "no salt": "OTHER_REASON",
}


def without_salt(item, reason: str) -> None:
    item.reason, item.reason_salt = reason, b""


def test_a_reason_that_is_not_shown_is_told_as_the_services_word(case, running):
    number = case.asked()
    with case.office() as first, lying(first, lambda item: without_salt(item, "")):
        state = next(item for item in first.states() if item.log_index == number)
    assert (state.reason, state.problem) == (None, "")
    assert (
        unsealing._why(state.reason) == "not shown: the service says that the borrower was erased"
    )
    assert unsealing._why("") == "none was given"


@pytest.mark.parametrize("blank", ["", " ", "\u200b", "..."])
def test_nobody_unseals_or_looks_for_a_person_without_a_word_of_why(case, running, blank):
    with case.office() as first:
        asked = {"reason": blank, "life_s": 60}
        assert reason_of(first.ask, case.answered, "verdicts", **asked) == "NO_REASON"
    with running.world.auditor() as auditor:
        assert reason_of(auditor.search_person, "ref:alice", reason=blank) == "NO_REASON"


def test_another_detail_than_the_entry_commits_to_is_refused(case):
    number = case.asked()
    with case.office(SECOND) as second:
        second.decide(number, approves=True)
        honest = second._stub

        def opened(request, **how):
            reply = honest.OpenDetail(request, **how)
            reply.content = reply.content.replace(b"YES", b"NO", 1)
            return reply

        second._stub = SimpleNamespace(ListUnsealings=honest.ListUnsealings, OpenDetail=opened)
        assert reason_of(second.open, number) == "OTHER_DETAIL"


def test_an_entry_that_was_not_verified_here_is_not_asked_about(case):
    with case.office() as first:
        asked = {"reason": "early", "life_s": 60}
        assert reason_of(first.ask, 10**6, "verdicts", **asked) == "NO_SUCH_ENTRY"
        assert reason_of(first.ask, case.answered, "consent", **asked) == "NO_SUCH_DETAIL"
        assert reason_of(first.open, 0) == "NO_SUCH_UNSEALING"
