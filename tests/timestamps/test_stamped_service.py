"""A real service and a real timestamp authority: kept, exported, shown, held against the log."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from credproof.auditing.stamps import STAMPS_NAME, Authorities, KeptStamp
from credproof.auditor import Auditor
from credproof.base.errors import CredproofError
from credproof.base.limits import TIMESTAMP_AUTHORITIES_MAX
from credproof.channel import call
from credproof.cli.app import app
from credproof.log import stamped
from credproof.log.entry import entry_hash, parse_entry
from credproof.log.timestamp import verify_timestamp
from credproof.v1 import audit_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.wire import answer as answer_wire
from credproof_server import timestamps_cli
from credproof_server.config import FILE_NAME
from credproof_server.demo.world import AUDITOR, LENDER, World
from typer.testing import CliRunner

from tests.cli.command import run
from tests.deployment import watch
from tests.rpc.conftest import Running
from tests.rpc.stories import Story, told
from tests.timestamps.authority import POLICY, Certificates, Served, openssl

WAIT_S = 30.0
_SETTINGS = """
[[timestamps.authorities]]
name = "stamper"
url = "{url}"
certificates = "stamper.pem"
policy = "{policy}"
"""


class Scene:
    """A service whose checkpoints are stamped every second."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.make()
        watch(self.world.service, "")
        self.certificates = Certificates(folder / "authority")
        self.served = Served(self.certificates)
        path = self.world.service / FILE_NAME
        text = path.read_text().replace("every = 600", "every = 1")
        path.write_text(text + _SETTINGS.format(url=self.served.url, policy=POLICY))
        (self.world.service / "stamper.pem").write_bytes(self.certificates.file.read_bytes())
        self.running = Running(self.world)

    @property
    def home(self) -> Path:
        return self.world.home(AUDITOR)

    def await_stamps(self) -> timestamps_cli.Shown:
        """Wait until all that is logged is stamped."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            time.sleep(1.1)  # a root of the directory is logged after a second
            (found,) = timestamps_cli.shown(self.world.service)
            if found.waiting == 0:
                return found
        raise AssertionError("the log was never stamped")

    def run(self, *words: str | Path, code: int = 0) -> str:
        done = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200"})
        assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
        return done.stdout

    def verify(self, *options: str, code: int = 0) -> dict:
        return json.loads(self.run("audit", "verify", "--json", *options, "--home", self.home))

    @contextmanager
    def auditor(self) -> Iterator[Auditor]:
        with self.world.auditor() as opened:
            yield opened


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("stamped"))
    with made.world.served():
        made.world.populate()
        made.await_stamps()
        yield made
    made.served.close()


@pytest.fixture
def trusting(scene) -> Scene:
    """The auditor trusts the authority."""
    Authorities(scene.home).add("stamper", scene.certificates.file.read_bytes(), POLICY)
    return scene


def test_only_what_an_authority_stamped_that_the_auditor_itself_trusts_counts(scene, tmp_path):
    before = scene.verify()["timestamps"]
    assert (before["verified"], before["newest"], before["gaps"]) == (0, None, [])
    assert before["untrusted"] > 0
    assert "no authority that you trust" in scene.run("audit", "verify", "--home", scene.home)

    words = ("audit", "authority")
    other = Certificates(tmp_path / "other")
    told = json.loads(scene.run(*words, "add", "other", other.file, "--json", "--home", scene.home))
    assert told == {"name": "other", "policy": ""}
    assert scene.verify()["timestamps"]["verified"] == 0
    gone = scene.run(*words, "remove", "other", "--json", "--home", scene.home)
    assert json.loads(gone) == {"name": "other"}
    pem = scene.certificates.file
    scene.run(*words, "add", "stamper", pem, "--policy", POLICY, "--home", scene.home)
    listed = json.loads(scene.run(*words, "list", "--json", "--home", scene.home))
    assert [(item["name"], item["names"]) for item in listed] == [
        ("stamper", ["CN=Root", "CN=Issuer"])
    ]
    assert "CN=Issuer" in scene.run(*words, "list", "--home", scene.home)

    scene.run(*words, "add", "stamper", pem, "--policy", "1.2.3", "--home", scene.home)
    told = scene.run("audit", "verify", "--home", scene.home)
    assert "credproof audit authority list" in told, "of a policy that it never signs under"
    scene.run(*words, "add", "stamper", pem, "--policy", POLICY, "--home", scene.home)

    found = scene.verify()["timestamps"]
    assert found["untrusted"] == 0
    assert found["verified"] >= before["untrusted"]
    assert found["newest"]["authority"] == "stamper"
    assert "by stamper" in scene.run("audit", "follow", "--home", scene.home)
    assert (scene.home / STAMPS_NAME).stat().st_mode & 0o777 == 0o600


def test_a_timestamp_that_is_damaged_here_accuses_nobody(trusting):
    """One flipped bit of its time, beside what the authority signed, made a finding with files."""
    trusting.verify()
    path = trusting.home / STAMPS_NAME
    kept = path.read_bytes()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE stamps SET time = time - 100000 WHERE time IS NOT NULL")
    words = ("audit", "follow", "--json", "--home", trusting.home)
    for _ in range(2):
        told = json.loads(trusting.run(*words, code=1))
        assert (told["reason"], told["findings"]) == ("STAMPS_DAMAGED", [])
    path.write_bytes(kept)
    assert json.loads(trusting.run(*words))["reason"] == ""


def test_an_operator_sees_how_far_the_authorities_are(scene, monkeypatch):
    found = scene.await_stamps()
    shown = json.loads(scene.run("timestamps", scene.world.service, "--json"))
    assert shown[0]["size"] == found.tree_size
    assert f"{found.tree_size} entries, stamped at" in scene.run("timestamps", scene.world.service)
    monkeypatch.setattr(timestamps_cli, "shown", lambda _: [])
    assert "under [timestamps] in" in scene.run("timestamps", scene.world.service)
    late = replace(found, waiting=3, since=1_700_000_000)
    monkeypatch.setattr(timestamps_cli, "shown", lambda _: [late])
    assert "NO TIMESTAMP SINCE 2023-11-14" in scene.run("timestamps", scene.world.service)


def test_openssl_verifies_what_is_exported(scene, tmp_path):
    scene.await_stamps()
    scene.run("audit", "export", tmp_path / "copy", "--home", scene.home)
    scene.running.person()
    scene.await_stamps()
    scene.run("audit", "export", tmp_path / "copy", "--home", scene.home)
    folders = sorted((tmp_path / "copy" / "timestamps").iterdir(), key=lambda path: int(path.name))
    assert len(folders) > 1
    for folder in folders:
        words = ("-in", folder / "stamper.tsr", "-CAfile", scene.certificates.file)
        told = openssl("ts", "-verify", "-data", folder / "checkpoint.text", *words)
        assert "Verification: OK" in told
        with pytest.raises(AssertionError, match="message imprint mismatch"):
            openssl("ts", "-verify", "-data", folder / "checkpoint", *words)


@pytest.mark.parametrize("file", ["stamper.tsr", "checkpoint", "checkpoint.text"])
def test_a_timestamp_of_a_copy_that_was_changed_is_told_and_one_that_is_missing_written_again(
    scene, tmp_path, file
):
    copy = tmp_path / "copy"
    scene.run("audit", "export", copy, "--home", scene.home)
    path = sorted((copy / "timestamps").glob(f"*/{file}"))[0]
    honest = path.read_bytes()
    path.unlink()
    scene.run("audit", "export", copy, "--home", scene.home)
    assert path.read_bytes() == honest
    path.write_bytes(changed := honest[:-9] + bytes(4) + honest[-5:])
    told = run("audit", "export", copy, "--home", scene.home, code=1)
    assert f"timestamps/{path.parent.name}/{file} of the copy" in told
    assert "(MIRROR_DAMAGED)" in told
    assert path.read_bytes() == changed, "it is not written over"


def test_the_page_of_evidence_shows_before_when_an_answer_was_logged(trusting, tmp_path):
    with trusting.world.lender() as lender:
        subject_id, consent, _ = trusting.running.consented(lender)
        subject = lender.subject(subject_id)
        kept = lender.ask(subject, policy_id="revolving-standing", consent=consent)
    file = tmp_path / "case.answer"
    file.write_bytes(kept.to_bytes())
    trusting.verify()
    words = ("audit", "evidence", file, "-o", tmp_path / "page.html", "--language", "en")
    words = (*words, "--home", trusting.home)
    trusting.run(*words)
    page = (tmp_path / "page.html").read_text()
    if "no trusted timestamp" in page:  # it was younger than the newest timestamp
        trusting.await_stamps()
        trusting.verify()
        trusting.run(*words)
        page = (tmp_path / "page.html").read_text()
    assert "by the clock of stamper" in page
    shutil.copytree(trusting.home, home := tmp_path / "home")
    with closing(sqlite3.connect(home / STAMPS_NAME)) as database, database:
        database.execute("UPDATE stamps SET stamped_by = 'another'")
    trusting.run(*words[:-1], home, code=1)  # STAMPS_DAMAGED: no page about another authority
    assert (tmp_path / "page.html").read_text() == page
    blocks = [html.unescape(block) for block in re.findall(r"(?s)<pre>(.*?)</pre>", page)]
    at = next(i for i, b in enumerate(blocks) if re.fullmatch(r"MII[\w+/=\n]+", b))
    response, proof = base64.b64decode(blocks[at]), blocks[at - 1].encode()
    note = proof.partition(b"\n\n")[2]
    assert int(note.splitlines()[1]) > answer_wire.parse(file.read_bytes()).logged.log_index
    assert verify_timestamp(response, note, trusting.certificates.trusted(POLICY))
    for name, data in re.findall('<a download="([^"]*)" href="[^,]*,([^"]*)">', page):
        (tmp_path / name).write_bytes(base64.b64decode(data))
    (command,) = [block for block in blocks if block.startswith("openssl ts")]
    given = command.replace("stamped.", f"{tmp_path}/stamped.").replace("auth", f"{tmp_path}/auth")
    assert "Verification: OK" in openssl(*given.split()[1:])


def test_a_flipped_bit_in_ones_own_timestamps_makes_no_finding_and_tells_no_false_date(
    trusting, tmp_path
):
    """It made a finding, with files, against an honest operator."""
    trusting.verify()
    shutil.copytree(trusting.home, home := tmp_path / "home")
    with closing(sqlite3.connect(home / STAMPS_NAME)) as database, database:
        database.execute("UPDATE stamps SET time = time - 1048576")
    words = ("audit", "follow", "--json", "--evidence", tmp_path / "found", "--home", home)
    told = json.loads(trusting.run(*words, code=1))
    assert (told["findings"], told["evidence"]) == ([], [])
    assert {fault["reason"] for fault in told["faults"]} == {"STAMPS_DAMAGED"}
    (home / STAMPS_NAME).rename(tmp_path / "set-aside.db")
    again = json.loads(trusting.run(*words))
    assert again["timestamps"]["verified"] > 0, "they are fetched again"


def test_an_index_that_is_damaged_makes_no_finding_by_a_timestamp(trusting, tmp_path):
    trusting.verify()
    shutil.copytree(trusting.home, home := tmp_path / "home")
    with closing(sqlite3.connect(home / "audit.db")) as database, database:
        later = """replace(line, '"time":1', '"time":2')"""
        database.execute(f"UPDATE entries SET line = CAST({later} AS BLOB)")
    words = ("audit", "follow", "--json", "--evidence", tmp_path / "found", "--home", home)
    told = json.loads(trusting.run(*words, code=1))
    assert (told["findings"], told["evidence"]) == ([], [])
    assert "INDEX_DAMAGED" in {fault["reason"] for fault in told["faults"]}


def dated_back(story: Story) -> Story:
    """The log as an operator writes it whose entries all say that they are an hour older."""
    lines: list[bytes] = []
    for entry in map(parse_entry, story.lines):
        prev = entry_hash(lines[-1]) if lines else entry.prev
        lines.append(replace(entry, time=entry.time - 3600, prev=prev).to_line())
    story.lines = lines
    return story


@contextmanager
def stamped_as(auditor: Auditor, found: list[KeptStamp]):
    auditor.stamps = lambda after: iter([[s for s in found if (s.tree_size, s.authority) > after]])
    try:
        yield
    finally:
        del auditor.stamps


def start_again(home: Path) -> None:
    for name in ("audit.db", "audited.json", "newest.checkpoint", STAMPS_NAME):
        (home / name).unlink(missing_ok=True)


def test_entries_that_were_dated_back_are_a_finding_with_the_timestamp_that_shows_it(trusting):
    """The operator signs all of it: only somebody else's clock tells."""
    trusting.verify()
    start_again(trusting.home)
    with trusting.auditor() as auditor:
        lines = auditor.lines(0, auditor.checkpoint().tree_size)
        story = dated_back(Story(trusting.running, lines))
        size, note = len(story.lines), story.checkpoint().note
        response = trusting.certificates.stamp_note(note)
        for _ in range(3):
            story.add("answer.whispered", "lend", bytes(32))
        with (
            told(auditor, story),
            stamped_as(auditor, [KeptStamp(size, "stamper", note, response)]),
        ):
            report = auditor.timestamps(auditor.verify().checkpoint)
            with auditor.index() as index:
                found = [f for f in index.findings() if f.rule == "ENTRY_BACKDATED"]
            (files,) = auditor.finding_evidence(found)
            auditor.timestamps(auditor.verify().checkpoint)
            with auditor.index() as index:
                assert len([f for f in index.findings() if f in found]) == 1, "found once"
    assert report.verified == 1
    assert [f.log_index for f in found] == [size]
    assert files[f"timestamp-{size}.stamper.tsr"] == response
    assert files[f"timestamp-{size}.checkpoint"] == note
    assert f"entry-{size}.logged.json" in files
    start_again(trusting.home)


def test_an_entry_of_the_future_is_shown_to_others_by_a_timestamp_that_covers_it(trusting):
    trusting.verify()
    start_again(trusting.home)
    with trusting.auditor() as auditor:
        story = Story(trusting.running, auditor.lines(0, auditor.checkpoint().tree_size))
        at = len(story.lines) - 1
        story.rewritten(at, time=parse_entry(story.lines[at]).time + 86_400)
        note = story.checkpoint().note
        stamp = KeptStamp(at + 1, "stamper", note, trusting.certificates.stamp_note(note))
        with told(auditor, story), stamped_as(auditor, [stamp]):
            auditor.timestamps(auditor.verify().checkpoint)
            with auditor.index() as index:
                found = [f for f in index.findings() if f.rule == "TIME_IN_FUTURE"]
            (files,) = auditor.finding_evidence(found)
    assert [f.log_index for f in found] == [at]
    assert files[f"timestamp-{at + 1}.stamper.tsr"] == stamp.response
    start_again(trusting.home)


def test_entries_without_a_timestamp_for_too_long_are_told(trusting, monkeypatch):
    monkeypatch.setattr(stamped, "TIMESTAMP_GAP_S", -1)
    assert "no timestamp between" in trusting.run("audit", "verify", "--home", trusting.home)
    gaps = trusting.verify()["timestamps"]["gaps"]
    assert gaps[0]["first"] == 0


def test_a_timestamp_that_is_not_of_this_log_is_told_and_not_kept(trusting, tmp_path):
    trusting.verify()
    with trusting.auditor() as auditor:
        audited = auditor.verify().checkpoint
        real = next(auditor.stamps((0, "")))[0]
        story = Story(trusting.running, auditor.lines(0, audited.tree_size)).rewritten(3, actor="x")
        other = story.checkpoint().note
        lies = [
            replace(real, response=trusting.certificates.stamp_note(other)),
            replace(real, note=other, tree_size=audited.tree_size),
            KeptStamp(len(story.lines), "a", other, trusting.certificates.stamp_note(other)),
            replace(real, tree_size=real.tree_size + 1),
            replace(real, authority="../../up"),
            replace(real, response=b"nothing"),
            replace(real, note=b"nothing"),
        ]
        for lie in lies:
            (trusting.home / STAMPS_NAME).unlink()
            with stamped_as(auditor, [lie]), pytest.raises(CredproofError) as caught:
                auditor.timestamps(audited)
            assert caught.value.reason == "TIMESTAMP_NOT_OF_LOG", lie
        mirror = auditor.export(tmp_path)
        for lie in (lies[0], lies[2], *lies[4:]):
            with pytest.raises(CredproofError) as caught:
                mirror.add_timestamp(lie.authority, lie.note, lie.response)
            assert caught.value.reason == "TIMESTAMP_NOT_OF_LOG", lie
    assert not (tmp_path.parent / "up.tsr").exists()


def test_timestamps_that_come_again_and_again_end(trusting):
    with trusting.auditor() as auditor:
        page = call(auditor._stub.ListTimestamps, pb.ListTimestampsRequest())
        auditor._stub.ListTimestamps = lambda *_args, **_how: page
        with pytest.raises(CredproofError) as caught:
            list(auditor.stamps((0, "")))
    assert caught.value.reason == "TIMESTAMP_NOT_OF_LOG"


def test_timestamps_are_for_auditors_and_read_in_pages(trusting):
    with trusting.auditor() as auditor:
        (page,) = auditor.stamps((0, ""))
        assert next(auditor.stamps((page[0].tree_size, page[0].authority)))[0] == page[1]
        with pytest.raises(CredproofError) as caught:
            call(auditor._stub.ListTimestamps, pb.ListTimestampsRequest(after_size=-1))
        assert caught.value.reason == "BAD_RANGE"
    stub = AuditServiceStub(trusting.running.channel(LENDER))
    with pytest.raises(CredproofError) as refused:
        call(stub.ListTimestamps, pb.ListTimestampsRequest())
    assert refused.value.reason == "NOT_PERMITTED"


def test_a_file_of_timestamps_that_is_damaged_is_told(trusting):
    with trusting.auditor() as auditor:
        auditor.timestamps(auditor.verify().checkpoint)
    kept = (trusting.home / STAMPS_NAME).read_bytes()
    (trusting.home / STAMPS_NAME).write_bytes(b"no database at all " * 1000)
    with trusting.auditor() as auditor, pytest.raises(CredproofError) as caught:
        auditor.timestamps(auditor.verify().checkpoint)
    assert caught.value.reason == "STAMPS_DAMAGED"
    (trusting.home / STAMPS_NAME).write_bytes(kept)


def test_authorities_that_cannot_be_trusted_are_refused(tmp_path):
    made = Certificates(tmp_path / "it")
    pem, signing = made.file.read_bytes(), (made.folder / "tsa.pem").read_bytes()
    trusted = Authorities(tmp_path)
    for name, content, policy, reason in (
        ("../up", pem, "", "BAD_AUTHORITY"),
        ("one", pem, "any", "BAD_AUTHORITY"),
        ("one", b"none", "", "BAD_CERTIFICATES"),
        ("one", signing, "", "NO_ROOT_CERTIFICATE"),
    ):
        with pytest.raises(CredproofError) as caught:
            trusted.add(name, content, policy)
        assert caught.value.reason == reason
    with pytest.raises(CredproofError) as caught:
        trusted.remove("one")
    assert caught.value.reason == "NO_SUCH_AUTHORITY"
    for number in range(TIMESTAMP_AUTHORITIES_MAX):
        trusted.add(f"one-{number}", pem, "")
    with pytest.raises(CredproofError) as caught:
        trusted.add("more", pem, "")
    assert caught.value.reason == "LIMIT_EXCEEDED"
    assert len(trusted.all()) == TIMESTAMP_AUTHORITIES_MAX
