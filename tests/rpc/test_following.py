"""An auditor who follows a service that lies: each lie is told as what it is, with evidence."""

from __future__ import annotations

import json
import re
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
from credproof.auditing.evidence import LogFault, write
from credproof.auditing.index import TOLD
from credproof.auditor import Auditor
from credproof.base.encoding import DAY_S, b64url
from credproof.base.errors import Conflict, Unreachable, VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S, DIRECTORY_AGE_MAX_S
from credproof.cli.app import app
from credproof.log.checkpoint import (
    parse_checkpoint,
)
from credproof.log.entry import parse_entry
from credproof.log.merkle import verify_consistency
from credproof.log.note import parse_note
from credproof.log.proof import verify_proof
from credproof.log.witness import parse_add_checkpoint
from credproof.verification.registry import verify_change
from credproof.verification.replay import Replay
from credproof.wire import trust as trust_wire
from typer.testing import CliRunner

from tests.cli.command import run
from tests.rpc.conftest import AUDITOR, PROVIDER
from tests.rpc.stories import Story, fault, start_again, told

BEHIND = "ROOT_BEHIND"


@pytest.mark.parametrize("more", [0, 5])
def test_a_fork_is_shown_by_two_entries_that_the_log_signed_at_one_index(auditor, story, more):
    at = len(story.lines) - 3
    story.rewritten(at, actor="somebody")
    for _ in range(more):
        story.add("answer.whispered", "lend", bytes(32))
    with told(auditor, story):
        files = fault(auditor, "LOG_FORKED")
    key = story.signer.verifier_key
    signed = [
        verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])
        for name in (f"entry-{at}.seen", f"entry-{at}.now")
    ]
    assert [item.note for item in signed] == [files["seen.checkpoint"], files["now.checkpoint"]]
    assert files[f"entry-{at}.seen.json"] != files[f"entry-{at}.now.json"]
    assert parse_add_checkpoint(files["add-checkpoint.request"]).note == files["now.checkpoint"]
    assert str(key) in files["log.vkey"].decode().splitlines()


WORD = b"our word alone"


@pytest.mark.parametrize("lines", ["shown", "held back"])
def test_a_fork_that_is_shorter_is_shown_by_the_auditors_own_lines(auditor, story, lines):
    at, tree = len(story.lines) - 5, story.tree
    del story.rewritten(at, actor="somebody").lines[-2:]
    with told(auditor, story):
        if lines == "held back":
            auditor.pages = lambda *_: iter([])
        files = fault(auditor, "LOG_FORKED")
    past, proof = parse_checkpoint(files["past.checkpoint"].decode()), files["past.request"]
    asked = parse_add_checkpoint(proof)
    seen, now = (
        parse_checkpoint(parse_note(files[f"{name}.checkpoint"]).text) for name in ("seen", "now")
    )
    verify_consistency(past.tree_size, past.root_hash, seen.tree_size, seen.root_hash, asked.proof)
    assert (seen.root_hash, asked.note) == (tree.root(), files["seen.checkpoint"])
    assert past.tree_size == now.tree_size
    assert past.root_hash != now.root_hash
    assert (f"entry-{at}.now.json" in files) == (lines == "shown")
    assert WORD not in files["README.txt"]


@pytest.mark.parametrize("more", [0, 5])
def test_a_fork_that_nothing_here_proves_is_called_a_word(auditor, story, more):
    """Two roots of one size prove it; a proof that fails can be made by anybody."""
    (auditor._home.folder / "audit.db").unlink()
    story.rewritten(5, actor="somebody")
    for _ in range(more):
        story.add("answer.whispered", "lend", bytes(32))
    with told(auditor, story):
        files = fault(auditor, "LOG_FORKED")
    assert (WORD in files["README.txt"]) == bool(more)


@pytest.mark.parametrize("whole", [False, True])
def test_a_tail_that_was_cut_off_is_shown_by_both_checkpoints(auditor, story, whole):
    del story.lines[-2:]
    with told(auditor, story):
        files = fault(auditor, "LOG_SHRANK", whole=whole)
    assert {"seen.checkpoint", "now.checkpoint"} <= set(files)
    assert WORD in files["README.txt"], "checkpoints carry no time"


@pytest.mark.parametrize("whole", [False, True])
def test_an_entry_that_is_left_out_is_told_as_a_gap(auditor, story, whole):
    size = len(story.lines)
    for _ in range(4):
        story.add("answer.whispered", "lend", bytes(32))
    at = 7 if whole else size + 1
    if whole:
        (auditor._home.folder / "audit.db").unlink()  # what was verified is not there any more
    with told(auditor, story, serve=[*story.lines[:at], *story.lines[at + 1 :]]):
        files = fault(auditor, "SEQ_GAP", whole=whole)
    assert f"entry-{at}.served.json" in files


@pytest.mark.parametrize("rechained", [False, True])
@pytest.mark.parametrize("at", [0, 7, -1])
def test_an_entry_that_is_not_the_signed_one_is_named(running, auditor, story, at, rechained):
    index = at % len(story.lines)
    served = Story(running, story.lines)
    if rechained and index:
        served.rewritten(index, actor="somebody")
    else:
        changed = replace(parse_entry(story.lines[index]), actor="somebody").to_line()
        served.lines[index] = changed
    (auditor._home.folder / "audit.db").unlink()
    with told(auditor, story, serve=served.lines):
        files = fault(auditor, "ENTRY_CHANGED", whole=True)
    assert files[f"entry-{index}.served.json"] == served.lines[index]


def test_a_root_that_no_entries_make_is_told_to_whoever_never_looked_before(auditor, story):
    for name in ("audit.db", "audited.json", "newest.checkpoint"):
        (auditor._home.folder / name).unlink()
    with told(auditor, story, root=bytes(32)), pytest.raises(LogFault) as caught:
        auditor.verify()
    assert caught.value.reason == "TREE_MISMATCH"
    report = auditor.verify()
    assert report.entries_read == report.checkpoint.tree_size, "nothing of the lie was kept"


SIGNED = {
    "no JSON": ("BAD_ENTRY", lambda _: b"not json"),
    "three bytes": ("BAD_ENTRY", lambda _: b"{ }"),
    "one member more": ("BAD_ENTRY", lambda entry: b'{"a":1,' + entry.to_line()[1:]),
    "too long": ("BAD_ENTRY", lambda _: b"[" + b" " * 70_000),
    "continues nothing": (
        "BAD_ENTRY",
        lambda entry: replace(entry, kind="log.continued", fields={}).to_line(),
    ),
    "another chain": ("CHAIN_BROKEN", lambda entry: replace(entry, prev=bytes(32)).to_line()),
    "another place": ("SEQ_GAP", lambda entry: replace(entry, seq=entry.seq + 1).to_line()),
    "another time": ("TIME_WENT_BACK", lambda entry: replace(entry, time=7).to_line()),
}


@pytest.mark.parametrize("wrong", SIGNED)
def test_an_entry_that_no_log_may_sign_is_shown_with_its_proof_each_time(auditor, story, wrong):
    reason, change = SIGNED[wrong]
    story.add("answer.whispered", "lend", bytes(32))
    story.lines[-1] = change(parse_entry(story.lines[-1]))
    index = len(story.lines) - 1
    with told(auditor, story):
        first, again = (fault(auditor, reason) for _ in range(2))
    assert first == again
    key = story.signer.verifier_key
    for at in (index - 1, index):
        line, proof = (first[f"entry-{at}.logged.{end}"] for end in ("json", "tlog-proof"))
        assert line == story.lines[at]
        verify_proof(line, proof, key.name, [key])


def test_an_entry_that_no_log_may_sign_is_told_also_where_its_proof_is_held_back(auditor, story):
    story.lines.append(b"not json")
    with told(auditor, story):
        auditor.inclusion = lambda *_: ()
        files = fault(auditor, "BAD_ENTRY")
    assert b"without a proof" in files["README.txt"]


def test_an_entry_of_the_future_stays_a_finding_also_when_all_is_read_again_later(
    auditor, story, monkeypatch
):
    index, now = len(story.lines), int(time.time())
    story.add("consent.granted", "borrower", bytes(32), tag=b64url(bytes(32)))
    story.rewritten(index, time=now + 400 * DAY_S)
    with told(auditor, story):
        for later in (0, 500 * DAY_S):
            clock = SimpleNamespace(time=lambda at=now + later: at)
            monkeypatch.setattr("credproof.auditor.time", clock)
            auditor.verify(whole=True)
            with auditor.index() as kept:
                (found,) = kept.findings()
            assert (found.rule, found.log_index) == ("TIME_IN_FUTURE", index)
        (files,) = auditor.finding_evidence([found])
    start_again(auditor)
    key, name = story.signer.verifier_key, f"entry-{index}.logged"
    verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])
    assert b"is our word alone, by our own clock" in b" ".join(files["README.txt"].split())


def findings(auditor: Auditor) -> list[tuple[str, tuple[int, ...]]]:
    with auditor.index() as index:
        found = index.findings(without=[TOLD])
        index.mark(found, TOLD)
    return [(item.rule, item.shown_by) for item in found]


def test_a_finding_that_stands_is_written_once_however_far_the_log_grows(auditor, story, tmp_path):
    story.rewritten(len(story.lines) - 3, actor="somebody")
    for is_new in (True, False, False):
        with told(auditor, story):
            files = fault(auditor, "LOG_FORKED")
        where, written = write(tmp_path, "LOG_FORKED", files)
        assert (written, [where]) == (is_new, list(tmp_path.iterdir()))
        story.add("answer.whispered", "lend", bytes(32))
    with told(auditor, story.rewritten(len(story.lines) - 8, actor="somebody-else")):
        other = fault(auditor, "LOG_FORKED")
    assert write(tmp_path, "LOG_FORKED", other)[1], "another past is another finding"


def test_a_log_that_shrank_further_is_another_finding_and_one_that_grows_on_is_not(
    auditor, story, tmp_path
):
    lines = list(story.lines)
    sizes = [len(lines) - gone for gone in (3, 2, 6, 5, 6)]
    written = []
    for size in sizes:
        story.lines = lines[:size]
        with told(auditor, story):
            files = fault(auditor, "LOG_SHRANK")
        where, is_new = write(tmp_path, "LOG_SHRANK", files)
        assert f"\n{size}\n".encode() in files["now.checkpoint"]
        written.append((where.name.split("-")[1], is_new))
    first, second = str(sizes[0]), str(sizes[2])
    assert written == [
        (first, True),
        (first, False),
        (second, True),
        (second, False),
        (second, False),
    ]


CONSENT = bytes(31) + b"\x07"


def given(story: Story, running) -> dict[str, object]:
    """The fields of an answer in the log, under `CONSENT`."""
    lines = (json.loads(line) for line in story.lines)
    found = next((line["fields"] for line in lines if line["kind"] == "answer.given"), None)
    assert found is not None
    return found | {"consent": b64url(CONSENT)}


@pytest.mark.parametrize(
    ("before", "answers", "rule"),
    [
        ([], 1, "ANSWER_WITHOUT_CONSENT"),
        (["granted", "revoked"], 1, "ANSWER_AFTER_REVOCATION"),
        (["granted"], 2, "ANSWER_BEYOND_CAP"),
        (["granted", "granted"], 0, "GRANTED_TWICE"),
    ],
)
def test_a_rule_that_the_log_itself_breaks_is_a_finding_with_its_entries(
    running, lender, auditor, story, before, answers, rule
):
    """The operator signs it, so chain and tree are sound: only what entries say tells."""
    subject_id, consent, _ = running.consented(lender)
    lender.ask(lender.subject(subject_id), policy_id="revolving-standing", consent=consent)
    auditor.verify()
    assert findings(auditor) == [], "what an honest service logs breaks no rule"
    story = Story(running, auditor.lines(0, auditor.checkpoint().tree_size))
    fields, size = given(story, running), len(story.lines)
    for word in before:
        story.add(f"consent.{word}", "borrower", CONSENT, tag=b64url(bytes(32)))
    for _ in range(answers):
        story.add("answer.given", lender.id, CONSENT, **fields)
    last = len(story.lines) - 1
    with told(auditor, story):
        auditor.verify(whole=True)
        with auditor.index() as index:
            (found,) = index.findings()
        (files,) = auditor.finding_evidence([found])
    assert (found.rule, found.log_index) == (rule, last)
    assert found.shown_by == tuple(range(size, last))
    key = story.signer.verifier_key
    for at in (*found.shown_by, found.log_index):
        name = f"entry-{at}.logged"
        verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])
    assert json.loads(files["findings.json"])[0]["rule"] == rule
    require_registry(running, files, story)
    start_again(auditor)


def require_registry(running, files: dict[str, bytes], story: Story) -> None:
    """The registry that a finding rests on is enclosed, and the log names it."""
    lines = [data for name, data in files.items() if name.endswith(".logged.json")]
    changes = [parse_entry(line) for line in lines if b'"registry.changed"' in line]
    assert changes
    for change in changes:
        found = trust_wire.parse(files[f"registry-{change.fields['version']}.json"])
        verify_change(found.token, found.documents, change, root=running.home(AUDITOR).roots)
        assert change.to_line() in story.lines


def test_a_root_that_leaves_somebody_out_is_shown_by_its_entry(running, auditor, story, tmp_path):
    """Chain, tree and rules are sound: only who computes the root anew can tell."""
    index = len(story.lines)
    story.add("directory.root", "service", bytes(32), covered=index)
    with told(auditor, story):
        audited = auditor.verify(whole=True).checkpoint
        with pytest.raises(LogFault) as caught:
            auditor.replay(audited)
        home = str(running.world.home(AUDITOR))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
            words = ["audit", "replay", "--evidence", str(tmp_path), "--home", home]
            assert CliRunner().invoke(app, words).exit_code != 0
            for more, code in ([], 0), (["--replay"], 1):
                words = ["audit", "follow", *more, "--json", "--home", home]
                done = CliRunner().invoke(app, words)
                told_as = json.loads(done.stdout)["reason"]
                assert (done.exit_code, told_as) == (code, "ROOT_DIFFERS" if code else "")
    start_again(auditor)
    assert (caught.value.reason, f"entry {index}" in caught.value.message) == ("ROOT_DIFFERS", True)
    (folder,) = tmp_path.iterdir()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files == dict(caught.value.files)
    key, name = story.signer.verifier_key, f"entry-{index}.logged"
    verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])
    assert re.fullmatch(rf"ROOT_DIFFERS-{index}-[0-9a-f]{{8}}", folder.name)


def right_root(story: Story) -> bytes:
    """The root of the directory that all entries make."""
    replay = Replay()
    for line in story.lines:
        replay.feed_line(line)
    wrong = Story.__new__(Story)
    wrong.lines = list(story.lines)
    wrong.add("directory.root", "service", bytes(32), covered=len(story.lines))
    with pytest.raises(VerificationFailed):
        replay.feed_line(wrong.lines[-1])
    return replay.root


def test_a_service_that_makes_no_root_any_more_is_told_each_time(
    running, auditor, story, monkeypatch
):
    """It was in silence until the next root, and lenders were told that answers are complete."""
    home = running.world.home(AUDITOR)
    story.add("directory.root", "service", right_root(story), covered=len(story.lines))
    index = len(story.lines)
    story.add("attestation.accepted", PROVIDER, CONSENT, index=b64url(CONSENT))
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    words = ("follow", "verify", "replay")
    follow, verify, replay = (["audit", word, "--home", home] for word in words)
    with told(auditor, story):
        assert json.loads(run(*follow, "--json"))["reason"] == "", "it may still come"
        assert json.loads(run(*replay, "--json"))["uncovered"] == 1
        later = time.time() + DIRECTORY_AGE_MAX_S + CLOCK_SKEW_S + 2
        monkeypatch.setattr(time, "time", lambda: later)
        for _ in range(2):
            assert json.loads(run(*follow, "--json", code=1))["reason"] == BEHIND
        said = [run(*words, code=1) for words in (follow, verify, replay)]
        offline = run(*replay, "--offline")
    assert "Uncovered:   1 changes" in said[-1]
    assert "Uncovered:   1 changes" in offline, "nobody knows what came since"
    start_again(auditor)
    assert all(f"no root covers entry {index}" in text for text in said)
    assert all(f"({BEHIND})\nnext:  " in text for text in said)


def test_a_root_and_a_rule_that_are_broken_both_get_files_and_the_rule_is_told_once(
    running, auditor, story, tmp_path, monkeypatch
):
    index = len(story.lines)
    story.add("directory.root", "service", bytes(32), covered=index)
    story.add("answer.whispered", "lend", bytes(32))
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    home = running.world.home(AUDITOR)
    words = ["audit", "follow", "--replay", "--evidence", tmp_path, "--json", "--home", home]
    with told(auditor, story):
        first, again = (json.loads(run(*words, code=1)) for _ in range(2))
    start_again(auditor)
    assert [len(first[what]) for what in ("faults", "findings", "evidence")] == [1, 1, 2]
    assert [len(again[what]) for what in ("faults", "findings", "evidence")] == [1, 0, 1]
    names = sorted(path.name.rpartition("-")[0] for path in tmp_path.iterdir())
    assert names == [f"ROOT_DIFFERS-{index}", f"RULE_BROKEN-{index + 1}"]


def test_what_was_found_before_a_fork_can_still_be_shown(auditor, story, tmp_path):
    """The proofs are the auditor's own: no lie of later takes them away."""
    size = len(story.lines)
    story.add("answer.whispered", "lend", bytes(32))
    with told(auditor, story):
        auditor.verify()
    with auditor.index() as index:
        found = index.findings(without=[TOLD])
    with told(auditor, story.rewritten(3, actor="somebody")):
        fault(auditor, "LOG_FORKED")
        (files,) = auditor.finding_evidence(found)
    start_again(auditor)
    key = story.signer.verifier_key
    name = f"entry-{size}.logged"
    verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])


@pytest.mark.parametrize("reason", ["LOG_FORKED", "LOG_SHRANK"])
def test_no_copy_is_made_of_another_log_than_was_audited(auditor, story, tmp_path, reason):
    if reason == "LOG_FORKED":
        story.rewritten(3, actor="somebody")
    else:
        del story.lines[-2:]
    with told(auditor, story), pytest.raises(LogFault) as caught:
        auditor.export(tmp_path / "copy")
    assert caught.value.reason == reason
    assert not (tmp_path / "copy").exists()


def test_an_audit_that_was_interrupted_goes_on_after_its_last_page(auditor, monkeypatch):
    start_again(auditor)
    honest, size = auditor.pages, auditor.checkpoint().tree_size

    def breaks_off(start, end):
        yield next(honest(start, 6))
        raise Unreachable("NO_ANSWER", "the service is gone")

    monkeypatch.setattr(auditor, "pages", breaks_off)
    with pytest.raises(Unreachable):
        auditor.verify()
    monkeypatch.undo()
    report = auditor.verify()
    assert report.entries_read == report.checkpoint.tree_size - 6 >= size - 6
    with auditor.index() as index:
        assert len(list(index.lines())) == report.checkpoint.tree_size


def test_a_version_of_the_registry_that_is_held_back_is_told(auditor, monkeypatch):
    start_again(auditor)
    for path in (auditor._home.folder / "registry").iterdir():
        path.unlink()

    def held_back(*_args, **_how):
        raise Conflict("NO_SUCH_VERSION", "there is none")

    monkeypatch.setattr("credproof.auditor.fetch_version", held_back)
    with pytest.raises(VerificationFailed) as caught:
        auditor.verify()
    assert caught.value.reason == "REGISTRY_WITHHELD"
    monkeypatch.undo()
    auditor.verify()


def test_a_version_that_nobody_shows_is_told_with_its_entry_and_all_else_is_looked_at(
    running, auditor, story, tmp_path, monkeypatch
):
    index = len(story.lines)
    story.add("registry.changed", "operator-1", bytes(32), version=99)
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    words = ["--replay", "--evidence", tmp_path, "--json", "--home", running.world.home(AUDITOR)]
    with told(auditor, story):
        for _ in range(2):
            looked = json.loads(run("audit", "follow", *words, code=1))
    assert (looked["reason"], looked["size"], looked["read"]) == ("REGISTRY_WITHHELD", index, 0)
    assert looked["reread"] == index
    assert looked["roots"] is not None
    (folder,) = tmp_path.iterdir()
    assert re.fullmatch(rf"REGISTRY_WITHHELD-{index}-[0-9a-f]{{8}}", folder.name)
    key, name = story.signer.verifier_key, f"entry-{index}.logged"
    line, proof = ((folder / f"{name}.{end}").read_bytes() for end in ("json", "tlog-proof"))
    verify_proof(line, proof, key.name, [key])
    assert "The operator must produce it" in (folder / "README.txt").read_text()


def test_another_version_than_the_log_names_is_told_with_its_entry(auditor, story):
    newest = auditor.trust.bundle.version
    story.add("registry.changed", "operator-1", bytes(32), version=newest)
    with told(auditor, story):
        files = fault(auditor, "OTHER_TRUST")
    assert f"entry-{len(story.lines) - 1}.logged.tlog-proof" in files


def test_two_audits_in_one_home_do_not_get_into_each_others_way(running, auditor):
    with running.world.auditor() as other, other._locked(), pytest.raises(Conflict) as caught:
        auditor.verify()
    assert caught.value.reason == "AUDIT_BUSY"


def test_a_new_bundle_is_kept_for_years_with_the_version_it_has(running, auditor):
    newest = auditor.trust.bundle.version
    kept = running.home(AUDITOR).folder / "registry"
    assert {path.name for path in kept.iterdir()} == {f"{v}.json" for v in range(1, newest + 1)}
