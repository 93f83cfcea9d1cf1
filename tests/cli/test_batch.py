"""Asking about a whole file: row by row, again after any crash, and verifying what is kept."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from credproof import borrower as borrowers
from credproof import standard
from credproof.base.errors import Unreachable
from credproof.borrower import Borrower, make_pass
from credproof.cli.asking import JOURNAL, Run
from credproof.lender import Lender
from credproof.provider import Provider
from credproof.records.asks import read_asks
from credproof.records.journal import Journal

from tests.cli.command import run, run_both
from tests.rpc.conftest import LENDER, PROVIDER
from tests.world import POOR

POLICY = "revolving-standing"
Pairs = list[tuple[str, str]]


def consented(running, lender, count: int) -> Pairs:
    """Ids and consents, for one answer each, of so many borrowers."""
    records = [running.record() for _ in range(count)]
    signers = []
    for record in records:
        folder = running.world.home(record.subject.removeprefix("ref:"))
        borrowers.create(folder)
        signers.append(borrowers.load_signer(folder))
    with running.world.provider() as provider:
        provider.submit(records, schema_id="consumer-revolving/1")
        proofs = [borrowers.prove_possession(signer, provider=PROVIDER) for signer in signers]
        bound = provider.bind([(r.subject, p) for r, p in zip(records, proofs, strict=True)])
    home, found = running.home(PROVIDER), []
    for record, signer, key in zip(records, signers, bound, strict=True):
        borrower = Borrower(signer, make_pass(home, key.sub))
        request = lender.request(lender.subject(record.subject), policy_id=POLICY)
        consent = borrower.consent(borrower.check(request, lender.trust), language="en")
        found.append((record.subject, consent))
    return found


def write(path: Path, pairs: Pairs, **columns: list[str]) -> Path:
    """A file of questions."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["subject", "consent", *columns])
        rows = zip(pairs, *columns.values(), strict=True)
        writer.writerows([*pair, *more] for pair, *more in rows)
    return path


def ask(running, file: Path, folder: Path, *, code: int = 0) -> list[dict]:
    """What `credproof lender ask --batch` prints."""
    told = run(
        "lender", "ask", "--policy", POLICY, "--batch", file, "--output-dir", folder, "--json",
        home=running.world.home(LENDER), code=code,
    )  # fmt: skip
    return [json.loads(line) for line in told.splitlines()]


def open_questions(running) -> int:
    with Journal(running.world.home(LENDER) / JOURNAL) as journal:
        return len(journal)


def test_every_row_gets_its_answer_file_or_its_reason(running, lender, tmp_path):
    pairs = consented(running, lender, 3)
    bad = [("ref:with space", pairs[0][1]), (pairs[1][0], pairs[2][1])]
    file = write(tmp_path / "asks.csv", [*pairs, *bad], case=[f"case {i}" for i in range(5)])
    lines = ask(running, file, tmp_path / "answers", code=1)

    assert [line["line"] for line in lines] == [2, 3, 4, 5, 6]
    assert [line.get("reason") for line in lines[3:]] == [
        "BAD_SUBJECT_ID", "CONSENT_OTHER_SUBJECT"
    ]  # fmt: skip
    for line in lines[:3]:
        assert (line["outcome"]["tier"], line["already"]) == ("A", False)
        run("lender", "verify", tmp_path / "answers" / line["file"], home=lender._home.folder)
    assert not any(subject in json.dumps(lines) for subject, _ in pairs)
    assert open_questions(running) == 0


def test_an_answer_in_part_is_told_as_that_and_counted(running, lender, tmp_path):
    """As of one borrower: an operator who leaves a bad account out of a batch was not seen."""
    pairs, home = consented(running, lender, 2), running.world.home(LENDER)
    running.world.admit("side-bank", "provider")
    with Provider.open(running.world.home("side-bank")) as other:
        beside = replace(running.record(), subject=pairs[0][0])
        assert other.submit([beside], schema_id="consumer-revolving/1").accepted == 1
    file, answers = write(tmp_path / "asks.csv", pairs), tmp_path / "answers"
    told, summary = run_both(
        "lender", "ask", "--policy", POLICY, "--batch", file, "--output-dir", answers, home=home
    )
    lines = [json.loads(line) for line in told.splitlines()]

    assert [line["completeness"] for line in lines] == [
        {"state": "partial", "shown": 1, "of": 2, "absent": []},
        {"state": "complete", "shown": 1, "of": 1, "absent": []},
    ]
    assert summary.startswith("in part: 1 of 2 answers")
    again = ask(running, file, answers)
    assert [line["completeness"]["state"] for line in again] == ["partial", "complete"]
    counted = run("lender", "verify", answers, home=home)
    assert ["in", "part", "1"] in [line.split() for line in counted.splitlines()]
    single = json.loads(run("lender", "verify", answers / lines[0]["file"], "--json", home=home))
    assert single["completeness"] == lines[0]["completeness"]


def test_a_rerun_asks_nothing_that_is_answered(running, lender, tmp_path):
    pairs = consented(running, lender, 2)
    file = write(tmp_path / "asks.csv", pairs)
    first = ask(running, file, tmp_path / "answers")
    before = {path: path.read_bytes() for path in (tmp_path / "answers").iterdir()}
    write(file, [pairs[1], pairs[0]])
    again = ask(running, file, tmp_path / "answers")

    assert [line["already"] for line in again] == [True, True]
    assert [line["file"] for line in first] == [line["file"] for line in again][::-1]
    assert before == {path: path.read_bytes() for path in (tmp_path / "answers").iterdir()}


def test_an_answer_is_never_overwritten_by_that_of_another_question(running, lender, tmp_path):
    file = write(tmp_path / "asks.csv", consented(running, lender, 2), name=["same", "same"])
    lines = ask(running, file, tmp_path / "answers", code=1)
    assert (lines[0]["file"], lines[1]["reason"]) == ("same.answer", "NAME_TAKEN")


def test_a_damaged_answer_file_is_not_taken_for_an_answer(running, lender, tmp_path):
    file = write(tmp_path / "asks.csv", consented(running, lender, 1), name=["one"])
    ask(running, file, tmp_path / "answers")
    path = tmp_path / "answers" / "one.answer"
    path.write_bytes(path.read_bytes()[:-1])
    lines = ask(running, file, tmp_path / "answers", code=1)
    assert lines[0]["reason"] == "CONSENT_USED_UP"


# -- crashes


class Crash(Exception):
    """The process ends here."""


def lines(lender: Lender, file: Path, folder: Path) -> list[dict]:
    """What a run in this process tells."""
    folder.mkdir(exist_ok=True)
    with Journal(folder / JOURNAL) as journal:
        rows = read_asks(file, policy_id=POLICY)
        return list(Run(lender, journal, folder).lines(rows))


def crash(*_arguments, **_options):
    raise Crash


@pytest.mark.parametrize("point", ["before sending", "answered", "before the file", "kept"])
def test_a_consent_for_one_answer_survives_a_crash(running, tmp_path, monkeypatch, point):
    with running.world.lender() as lender:
        file = write(tmp_path / "asks.csv", consented(running, lender, 3))
        with monkeypatch.context() as patch:
            put = lender.put
            patches = {
                "before sending": (lender, "put", crash),
                "answered": (lender, "put", lambda asked: crash(put(asked))),
                "before the file": (Run, "_keep", crash),
                "kept": (Journal, "drop", lambda self, keys: crash() if list(keys) else None),
            }
            patch.setattr(*patches[point])
            with pytest.raises(Crash):
                lines(lender, file, tmp_path / "answers")
        monkeypatch.setattr("credproof.lender._now", lambda: int(time.time()) + 700)
        told = lines(lender, file, tmp_path / "answers")

        assert [line["outcome"]["tier"] for line in told] == ["A"] * 3
        assert {line["already"] for line in told} == {point == "kept"}
        with Journal(tmp_path / "answers" / JOURNAL) as journal:
            assert len(journal) == 0


def test_nothing_is_sent_before_it_is_in_the_journal(running, lender, tmp_path, monkeypatch):
    file = write(tmp_path / "asks.csv", consented(running, lender, 2))
    put, seen = lender.put, []

    def watched(asked):
        with Journal(tmp_path / "answers" / JOURNAL) as journal:
            seen.append(set(journal.find([item.ask.key for item in asked])))
        return put(asked)

    monkeypatch.setattr(lender, "put", watched)
    lines(lender, file, tmp_path / "answers")
    keys = [row.ask.key for row in read_asks(file, policy_id=POLICY)]
    assert seen == [set(keys)]


def test_an_answer_that_does_not_verify_can_be_had_again(running, lender, tmp_path, monkeypatch):
    """Else a lender that learns the provider's new key too late has spent the consent."""
    file = write(tmp_path / "asks.csv", consented(running, lender, 1))
    with monkeypatch.context() as patch:
        patch.setattr(lender, "_pins", {PROVIDER: frozenset({"00" * 16})})
        told = lines(lender, file, tmp_path / "answers")
        assert (told[0]["reason"], told[0]["step"]) == ("NOT_THE_PINNED_KEY", 3)
    told = lines(lender, file, tmp_path / "answers")
    assert told[0]["outcome"]["tier"] == "A"


def test_without_a_service_the_run_stops_and_nothing_is_lost(
    running, lender, tmp_path, monkeypatch
):
    file = write(tmp_path / "asks.csv", consented(running, lender, 2))

    def unreachable(_method, _request):
        raise Unreachable("NO_ANSWER", "the service did not answer")

    with monkeypatch.context() as patch:
        patch.setattr("credproof.lender.call", unreachable)
        with pytest.raises(Unreachable):
            lines(lender, file, tmp_path / "answers")
    assert len(lines(lender, file, tmp_path / "answers")) == 2


KILLED = """
import os, signal, sys
from credproof.cli import app, asking
def killed(*_arguments):
    os.kill(os.getpid(), signal.SIGKILL)
asking.Run._keep = killed
app.main()
"""
"""The command line, killed when the first batch is answered and nothing of it is kept."""


def test_a_killed_run_is_gone_on_with_and_every_row_is_answered(running, lender, tmp_path):
    file, folder = write(tmp_path / "asks.csv", consented(running, lender, 66)), tmp_path / "kept"
    command = [sys.executable, "-c", KILLED, "lender", "ask", "--policy", POLICY]
    command += ["--batch", str(file), "--output-dir", str(folder), "--json"]
    env = {**os.environ, "CREDPROOF_HOME": str(running.world.home(LENDER))}
    done = subprocess.run(command, env=env, capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")
    assert (open_questions(running), list(folder.iterdir())) == (64, [])
    assert len({line["file"] for line in ask(running, file, folder)}) == 66
    assert open_questions(running) == 0


# -- usage


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--batch", "asks.csv"],
        ["--output-dir", "answers"],
        ["--subject", "ref:a"],
        ["--batch", "asks.csv", "--output-dir", "answers", "--subject", "ref:a"],
        ["--batch", "asks.csv", "--output-dir", "answers", "--case", "c"],
    ],
)
def test_half_a_command_is_refused(tmp_path, arguments):
    told = run("lender", "ask", "--policy", POLICY, *arguments, code=2, home=tmp_path)
    assert "--output-dir" in told


def test_a_file_that_cannot_be_read_asks_nothing(running, tmp_path):
    (tmp_path / "asks.csv").write_text("subject,subject\n")
    told = run(
        "lender", "ask", "--policy", POLICY, "--batch", tmp_path / "asks.csv", "--output-dir",
        tmp_path / "answers", home=running.world.home(LENDER), code=2,
    )  # fmt: skip
    assert "BAD_FILE" in told
    assert not (tmp_path / "answers").exists()


def test_a_service_that_is_not_there_is_exit_code_3(running, lender, tmp_path):
    file = write(tmp_path / "asks.csv", consented(running, lender, 1))
    home = shutil.copytree(running.world.home(LENDER), tmp_path / "home")
    settings = json.loads((home / "participant.json").read_text())
    (home / "participant.json").write_text(json.dumps({**settings, "address": "127.0.0.1:1"}))
    run(
        "lender", "ask", "--policy", POLICY, "--batch", file, "--output-dir", tmp_path / "answers",
        home=home, code=3,
    )  # fmt: skip


# -- verifying many


@pytest.fixture(scope="module")
def kept(running, tmp_path_factory) -> Path:
    """A directory of 70 sound answers (ten, copied)."""
    folder = tmp_path_factory.mktemp("kept")
    with running.world.lender() as lender:
        lines(lender, write(folder / "asks.csv", consented(running, lender, 10)), folder / "first")
    (folder / "answers").mkdir()
    for number in range(7):
        for path in (folder / "first").glob("*.answer"):
            shutil.copy(path, folder / "answers" / f"{number}-{path.name}")
    return folder / "answers"


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_directory_is_verified_and_counted(running, kept, jobs):
    told = run("lender", "verify", kept, "--jobs", jobs, home=running.world.home(LENDER))
    assert [line.split() for line in told.splitlines()] == [
        ["verified", "70"], ["tier", "A", "70"], ["in", "part", "0"], ["failed", "0"]
    ]  # fmt: skip


def test_files_that_fail_are_named_with_the_check_and_the_exit_code_is_1(running, kept, tmp_path):
    good, flipped = sorted(kept.iterdir())[:2]
    data = bytearray(flipped.read_bytes())
    data[data.index(b"eyJ") + 400] ^= 1
    (tmp_path / "flipped.answer").write_bytes(data)
    (tmp_path / "dir.answer").mkdir()
    paths = [good, tmp_path / "flipped.answer", tmp_path / "dir.answer"]
    (paths[2] / "empty.answer").write_bytes(b"")
    told = run("lender", "verify", *paths, home=running.world.home(LENDER), code=1)

    assert "failed             2" in told
    assert "flipped.answer: error" in told
    assert "empty.answer: error" in told


def test_the_json_of_many_is_one_line_per_file_in_order(running, kept, tmp_path):
    (tmp_path / "bad.answer").write_bytes(b"text")
    told = run(
        "lender", "verify", kept, tmp_path / "bad.answer", "--json", "--jobs", "2",
        home=running.world.home(LENDER), code=1,
    )  # fmt: skip
    found = [json.loads(line) for line in told.splitlines()]
    files = [Path(line.pop("file")) for line in found]
    schema = json.loads(standard.read("json-schemas/verify-result.json"))
    for line in found:
        jsonschema.validate(line, schema)

    assert files == [*sorted(kept.iterdir()), tmp_path / "bad.answer"]
    assert [line["valid"] for line in found] == [True] * 70 + [False]


def test_a_file_that_is_missing_among_many_is_told_before_any_is_verified(running, kept):
    told = run("lender", "verify", kept, "missing", home=running.world.home(LENDER), code=2)
    assert "no such file" in told


def test_a_file_that_cannot_be_read_among_many_fails_alone(running, kept, tmp_path):
    (tmp_path / "gone.answer").symlink_to(kept)
    (tmp_path / "sound.answer").symlink_to(next(kept.iterdir()))
    told = run("lender", "verify", tmp_path, home=running.world.home(LENDER), code=1)
    assert "CANNOT_READ" in told


def test_beside_a_silent_refer_stands_who_bound_the_key_and_nobody_who_signed_a_figure(
    running, tmp_path
):
    with running.world.lender() as lender:
        subject_id, consent, _ = running.consented(lender, POOR)
        about = lender.subject(subject_id)
        kept = lender.ask(about, policy_id=POLICY, consent=consent)
    (tmp_path / "x.answer").write_bytes(kept.to_bytes())
    told = run("lender", "verify", tmp_path / "x.answer", home=running.world.home(LENDER))
    assert "Outcome:    REFER" in told
    assert f"Bound by:   {PROVIDER} (" in told
    assert "Signed by" not in told
