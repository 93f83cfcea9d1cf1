"""An auditor who follows a service that lies: each lie is told as what it is, with evidence."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace

import pytest
from credproof.auditing import rereading
from credproof.auditing.evidence import LogFault, write
from credproof.auditing.index import TOLD
from credproof.auditing.rereading import reread
from credproof.auditor import Auditor
from credproof.base.encoding import b64url
from credproof.base.errors import Conflict, DataLoss, Unreachable, VerificationFailed
from credproof.cli.app import app
from credproof.log.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from credproof.log.entry import Entry, entry_hash, parse_entry
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.proof import verify_proof
from credproof.log.witness import parse_add_checkpoint
from credproof_server.directory import ServiceDirectory
from typer.testing import CliRunner

from tests.cli.command import run
from tests.rpc.conftest import AUDITOR


class Story:
    """A log as a lying service has it: it signs with the real key whatever stands here."""

    def __init__(self, running, lines) -> None:
        self.signer = ServiceDirectory(running.world.service).log_signer()
        self.lines = list(lines)

    def rewritten(self, at: int, **changes: object) -> Story:
        """An entry is changed, and all after it are chained anew."""
        chained = self.lines[:at]
        for line in self.lines[at:]:
            changed = changes if len(chained) == at else {}
            entry = replace(parse_entry(line), prev=entry_hash(chained[-1]), **changed)
            chained.append(entry.to_line())
        self.lines = chained
        return self

    def add(self, kind: str, actor: str, digest: bytes, **fields: object) -> Story:
        last = parse_entry(self.lines[-1])
        prev, seq = entry_hash(self.lines[-1]), last.seq + 1
        entry = Entry(seq, last.time, kind, actor, digest, bytes(16), fields, prev)
        self.lines.append(entry.to_line())
        return self

    @property
    def tree(self) -> Tree:
        tree = Tree()
        tree.extend([leaf_hash(line) for line in self.lines])
        return tree

    def checkpoint(self, root: bytes | None = None):
        tree, key = self.tree, self.signer.verifier_key
        note = sign_checkpoint(Checkpoint(key.name, tree.size, root or tree.root()), [self.signer])
        return verify_checkpoint(note, key.name, [key])


@contextmanager
def told(auditor: Auditor, story: Story, *, root: bytes | None = None, serve=None):
    """The auditor hears this story instead of the real one; `serve` are other lines than signed."""
    tree, lines, checkpoint = story.tree, serve or story.lines, story.checkpoint(root)
    auditor.checkpoint = lambda: checkpoint
    auditor.pages = lambda start, end: iter([lines[start:end]] if start < end else [])
    auditor.consistency = tree.consistency_proof
    auditor.inclusion = tree.inclusion_proof
    try:
        yield
    finally:
        for name in ("checkpoint", "pages", "consistency", "inclusion"):
            delattr(auditor, name)


@pytest.fixture
def auditor(running):
    """An auditor who has verified the log as it is."""
    running.person()
    with running.world.auditor() as opened:
        opened.verify(whole=True)
        yield opened


@pytest.fixture
def story(running, auditor) -> Story:
    return Story(running, auditor.lines(0, auditor.checkpoint().tree_size))


def fault(auditor: Auditor, reason: str, *, whole: bool = False) -> dict[str, bytes]:
    state = auditor.trusted()
    with pytest.raises(LogFault) as caught:
        auditor.verify(whole=whole)
    assert caught.value.reason == reason
    assert state == auditor.trusted(), "what was trusted stays"
    assert reason.encode() in caught.value.files["README.txt"]
    return dict(caught.value.files)


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


def test_a_fork_is_found_by_whoever_has_the_checkpoint_alone(auditor, story):
    (auditor._home.folder / "audit.db").unlink()
    with told(auditor, story.rewritten(5, actor="somebody")):
        files = fault(auditor, "LOG_FORKED")
    assert {"seen.checkpoint", "now.checkpoint"} <= set(files)


@pytest.mark.parametrize("whole", [False, True])
def test_a_tail_that_was_cut_off_is_shown_by_both_checkpoints(auditor, story, whole):
    del story.lines[-2:]
    with told(auditor, story):
        files = fault(auditor, "LOG_SHRANK", whole=whole)
    assert {"seen.checkpoint", "now.checkpoint"} <= set(files)


@pytest.mark.parametrize("whole", [False, True])
def test_an_entry_that_is_left_out_is_told_as_a_gap(auditor, story, whole):
    size = len(story.lines)
    for _ in range(4):
        story.add("answer.whispered", "lend", bytes(32))
    at = 7 if whole else size + 1
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
    start_again(auditor)


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


def start_again(auditor: Auditor) -> None:
    """Forget a story that went on where the real log does not."""
    for name in ("audit.db", "audited.json", "newest.checkpoint"):
        (auditor._home.folder / name).unlink()


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


def test_two_audits_in_one_home_do_not_get_into_each_others_way(running, auditor):
    with running.world.auditor() as other, other._locked(), pytest.raises(Conflict) as caught:
        auditor.verify()
    assert caught.value.reason == "AUDIT_BUSY"


def test_a_new_bundle_is_kept_for_years_with_the_version_it_has(running, auditor):
    newest = auditor.trust.bundle.version
    kept = running.home(AUDITOR).folder / "registry"
    assert {path.name for path in kept.iterdir()} == {f"{v}.json" for v in range(1, newest + 1)}


def read_again(auditor: Auditor) -> range:
    """What the next run compares with the service."""
    report = auditor.verify()
    with auditor.index() as index:
        return reread(auditor, index, report, ["vkey"])


def test_in_time_all_that_was_verified_is_read_again(auditor, monkeypatch):
    monkeypatch.setattr(rereading, "ENTRIES_PAGE_MAX", 7)
    seen = list(read_again(auditor))
    while (more := read_again(auditor)).start:
        seen += more
    assert seen == list(range(seen[-1] + 1))
    assert (more, seen[-1] > 20) == (range(7), True)


def test_a_log_that_grows_between_the_runs_is_read_again_from_its_start_too(auditor, monkeypatch):
    """Whoever ran after its end compared only what was new a moment ago."""
    monkeypatch.setattr(rereading, "ENTRIES_PAGE_MAX", 7)
    report = auditor.verify()
    before, size = replace(report, entries_read=3), report.checkpoint.tree_size
    with auditor.index() as index:
        while reread(auditor, index, before, ["vkey"]).stop < size - 3:
            pass
        assert reread(auditor, index, report, ["vkey"]) == range(7)


LIES = {
    "another": ("ENTRY_CHANGED", lambda line: [replace(parse_entry(line), actor="x").to_line()]),
    "rubbish": ("ENTRY_CHANGED", lambda _: [b"{"]),
    "left out": ("SEQ_GAP", lambda _: []),
}


@pytest.mark.parametrize("at", [0, 7, -1])
@pytest.mark.parametrize("lie", LIES)
def test_an_entry_that_was_verified_and_is_served_otherwise_now_is_shown(auditor, story, at, lie):
    """The auditor's copy is the true one; that others are given something else is the finding."""
    reason, served = LIES[lie]
    at %= len(story.lines)
    if (at, lie) == (len(story.lines) - 1, "left out"):
        reason = "ENTRIES_MISSING"
    lines = [*story.lines[:at], *served(story.lines[at]), *story.lines[at + 1 :]]
    with told(auditor, story):
        auditor.verify()
    with told(auditor, story, serve=lines):
        for _ in range(2):
            with pytest.raises(LogFault) as caught:
                read_again(auditor)
    files, key = caught.value.files, story.signer.verifier_key
    assert (caught.value.reason, f"entry {at}" in caught.value.message) == (reason, True)
    name = f"entry-{at}.seen"
    verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])
    assert files[f"{name}.json"] == story.lines[at]
    assert (f"entry-{at}.served.json" in files) == (reason != "ENTRIES_MISSING")
    assert read_again(auditor), "the service gives the signed ones again"


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET line = x'7b' WHERE log_index = 3",
        "DELETE FROM entries WHERE log_index = 3",
        "DELETE FROM entries WHERE log_index > 9",
    ],
)
def test_a_copy_that_is_damaged_itself_is_not_held_against_the_service(auditor, damage):
    with closing(sqlite3.connect(auditor._home.folder / "audit.db")) as database, database:
        database.execute(damage)
    with pytest.raises(DataLoss) as caught:
        read_again(auditor)
    assert caught.value.reason == "INDEX_DAMAGED"
    start_again(auditor)


def test_cron_is_told_of_an_old_entry_that_was_rewritten_in_the_database(
    running, auditor, tmp_path
):
    home, path = running.home(AUDITOR).folder, running.world.service / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        ((line,),) = database.execute("SELECT line FROM entries WHERE log_index = 5").fetchall()
        change = "UPDATE entries SET line = ? WHERE log_index = 5"
        database.execute(change, (line.replace(b'"prev"', b'"perv"'),))
        try:
            words = ["audit", "follow", "--evidence", tmp_path, "--home", home]
            as_text = run(*words, code=1)
            told_as = json.loads(run(*words, "--json", code=1))
        finally:
            database.execute(change, (line,))
    assert "entry 5 is not the one that was verified before (ENTRY_CHANGED)" in as_text
    assert (told_as["reason"], told_as["reread"]) == ("ENTRY_CHANGED", 0)
    (folder,) = tmp_path.iterdir()
    assert (folder / "entry-5.seen.json").read_bytes() == line
    well = json.loads(run(*words, "--json"))
    assert well["reread"] == well["size"] - well["read"] > 5
