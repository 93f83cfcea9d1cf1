"""Files of the auditor's own home that are damaged speak against nobody."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from credproof.auditing.evidence import LogFault
from credproof.auditing.trusted import CHECKPOINT_NAME, STATE_NAME, WITNESSED_NAME
from credproof.auditor import Auditor
from credproof.base.encoding import canonical_json
from credproof.base.errors import CredproofError, DataLoss, VerificationFailed
from credproof.log.entry import parse_entry

from tests.cli.command import run
from tests.rpc.stories import start_again, told


@pytest.fixture(autouse=True)
def afresh(auditor):
    yield
    start_again(auditor, "*.damaged")


def bent(note: bytes) -> bytes:
    """One letter of the root is another."""
    at = note.index(b"\n", note.index(b"\n") + 1) + 1
    return note[:at] + (b"B" if note[at : at + 1] == b"A" else b"A") + note[at + 1 :]


def damage(folder: Path, name: str) -> bytes:
    data = bent((folder / name).read_bytes())
    (folder / name).write_bytes(data)
    return data


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        database.execute(statement)


def follow(folder: Path, findings: Path, *, code: int, words: tuple[str, ...] = ()) -> list[str]:
    """The reasons that a run tells."""
    args = ["audit", "follow", *words, "--json", "--evidence", findings, "--home", folder]
    return [fault["reason"] for fault in json.loads(run(*args, code=code))["faults"]]


def test_a_checkpoint_that_no_log_signed_is_told_as_damage_once_and_kept_aside(auditor, tmp_path):
    folder = auditor._home.folder
    wrong = damage(folder, CHECKPOINT_NAME)
    assert follow(folder, tmp_path, code=1) == ["CHECKPOINT_DAMAGED"]
    assert list(tmp_path.iterdir()) == [], "nothing is held against the operator"
    assert (folder / f"{CHECKPOINT_NAME}.damaged").read_bytes() == wrong
    assert follow(folder, tmp_path, code=0) == []


def test_an_audit_beside_a_damaged_checkpoint_tells_the_damage_and_what_it_verified(auditor):
    folder = auditor._home.folder
    damage(folder, CHECKPOINT_NAME)
    done = run("audit", "verify", "--home", folder, code=1)
    assert "newest.checkpoint in this home is damaged" in done
    assert "(CHECKPOINT_DAMAGED)" in done
    assert "Verified:" in done
    assert "CHECKPOINT_DAMAGED" not in run("audit", "verify", "--home", folder)


def test_a_checkpoint_of_witnesses_that_is_damaged_is_told_too(auditor, tmp_path):
    folder = auditor._home.folder
    (folder / WITNESSED_NAME).write_bytes(bent((folder / CHECKPOINT_NAME).read_bytes()))
    assert follow(folder, tmp_path, code=1) == ["CHECKPOINT_DAMAGED"]
    assert not (folder / WITNESSED_NAME).exists()
    assert follow(folder, tmp_path, code=0) == []


@pytest.mark.parametrize("wrong", [b"{", b"", None])
def test_a_state_that_does_not_fit_what_was_signed_is_told_as_damage(auditor, tmp_path, wrong):
    folder = auditor._home.folder
    state = json.loads((folder / STATE_NAME).read_bytes())
    first = state["peaks"][0]
    state["peaks"][0] = ("B" if first[0] == "A" else "A") + first[1:]
    bad = json.dumps(state, sort_keys=True, separators=(",", ":")).encode()
    (folder / STATE_NAME).write_bytes(bad if wrong is None else wrong)
    assert follow(folder, tmp_path, code=1) == ["AUDITED_DAMAGED"]
    assert list(tmp_path.iterdir()) == []
    assert follow(folder, tmp_path, code=0) == []


def test_a_state_of_before_the_checkpoint_is_no_damage(auditor, tmp_path):
    """An audit was ended between the two files."""
    folder = auditor._home.folder
    with auditor.index() as index:
        last = index.state.position.size
    state = {"last_hash": "A" * 43, "last_time": 1, "peaks": ["A" * 43], "tree_size": 1}
    assert last > 1
    (folder / STATE_NAME).write_text(json.dumps(state, separators=(",", ":")))
    assert follow(folder, tmp_path, code=0) == []


@pytest.mark.parametrize("more", [-2, 0, 3])
@pytest.mark.parametrize("index", ["kept", "deleted"])
def test_a_fork_is_told_also_where_the_state_alone_tells_it(auditor, story, more, index):
    """Without files: nobody else can know what was seen."""
    damage(folder := auditor._home.folder, CHECKPOINT_NAME)
    if index == "deleted":
        (folder / "audit.db").unlink()
    story.rewritten(len(story.lines) - 5, actor="somebody")
    story.lines = story.lines[: len(story.lines) + min(more, 0)]
    for _ in range(more):
        story.add("answer.whispered", "lend", bytes(32))
    with told(auditor, story), pytest.raises(VerificationFailed) as caught:
        auditor.verify()
    only_shorter = more < 0 and index == "deleted"  # own lines tell of the other past too
    assert caught.value.reason == ("LOG_SHRANK" if only_shorter else "LOG_FORKED")
    assert not hasattr(caught.value, "files")


def test_where_what_is_left_contradicts_itself_nobody_is_accused(auditor, story):
    folder = auditor._home.folder
    damage(folder, CHECKPOINT_NAME)
    state = json.loads((folder / STATE_NAME).read_bytes())
    state["peaks"] = state["peaks"][::-1]
    (folder / STATE_NAME).write_text(json.dumps(state, sort_keys=True, separators=(",", ":")))
    with pytest.raises(DataLoss) as caught:
        auditor.verify()
    assert caught.value.reason == "AUDITED_DAMAGED"
    assert (folder / f"{STATE_NAME}.damaged").exists()
    auditor.verify()  # by its own lines; it was the same finding for ever


DAMAGED = {
    "a line": "UPDATE entries SET line = x'7b7d' WHERE log_index = 3",
    "a line is gone": "DELETE FROM entries WHERE log_index = 3",
}


@pytest.mark.parametrize("what", ["last_hash", "peaks"])
def test_a_log_that_grows_is_not_forked_because_the_index_is_damaged(auditor, story, what):
    """Not even by a state that passes for what was written."""
    with auditor.index() as index:
        state = json.loads(index.state.to_bytes())
        other = "A" * 43
        state[what] = other if what == "last_hash" else [other, *state[what][1:]]
        index._put("audit", canonical_json(state))
    story.add("answer.whispered", "lend", bytes(32))
    with told(auditor, story), pytest.raises(CredproofError) as caught:
        auditor.verify()
    assert caught.value.reason == "INDEX_DAMAGED"


COLUMN = "UPDATE entries SET outcome = 'REFER' WHERE log_index = 3"
ATTESTED = "UPDATE entries SET line = CAST(replace(line, 'attestation', 'attestatiom') AS BLOB)"


@pytest.mark.parametrize(
    "statement", [DAMAGED["a line"], DAMAGED["a line is gone"], COLUMN, ATTESTED]
)
def test_an_index_that_is_not_what_was_verified_is_told_before_a_root(auditor, tmp_path, statement):
    """Its lines make no tree that was signed, so they make no root either."""
    audited = auditor.verify().checkpoint
    change(folder := auditor._home.folder, statement)
    with pytest.raises(DataLoss) as caught:
        auditor.replay(audited)
    assert caught.value.reason == "INDEX_DAMAGED"
    words = ("audit", "replay", "--evidence", tmp_path, "--home", folder)
    assert "(INDEX_DAMAGED)" in run(*words, code=1)
    assert "ROOT_DIFFERS" not in follow(folder, tmp_path, code=1, words=("--replay",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["damaged", "older"])
def test_a_kept_registry_that_is_damaged_is_named_and_fetched_again(auditor, tmp_path, wrong):
    """By the newest one all that follows is judged."""
    auditor.verify()
    folder = auditor._home.folder
    with auditor.index() as index:
        newest = folder / "registry" / f"{index.trust_version}.json"
    kept, older = newest.read_bytes(), (folder / "registry" / "1.json").read_bytes()
    newest.write_bytes(older if wrong == "older" else kept[:-40])
    assert follow(folder, tmp_path, code=1) == ["REGISTRY_NOT_KEPT"]
    assert list(tmp_path.iterdir()) == [], "nothing is held against the operator"
    run("audit", "verify", "--whole", "--home", folder)
    assert newest.read_bytes() == kept
    assert follow(folder, tmp_path, code=0) == []
    newest.with_name(f"{newest.stem}.lost.json").unlink()


@pytest.mark.parametrize("which", ["its own", "another"])
@pytest.mark.parametrize("statement", [DAMAGED["a line"], DAMAGED["a line is gone"]])
def test_a_broken_rule_is_shown_by_no_index_that_is_damaged(
    auditor, story, tmp_path, monkeypatch, statement, which
):
    """It ended in BAD_INCLUSION_PROOF, as if the service could not prove what it signed."""
    folder = auditor._home.folder
    at = len(story.lines) if which == "its own" else 3
    story.add("answer.whispered", "lend", bytes(32))
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    with told(auditor, story):
        auditor.verify()
        change(folder, statement.replace("= 3", f"= {at}"))
        assert follow(folder, tmp_path, code=1) == ["INDEX_DAMAGED"]
        assert list(tmp_path.iterdir()) == [], "nothing is held against the operator"
        (folder / "audit.db").rename(tmp_path / "kept.db")
        said = run("audit", "follow", "--evidence", tmp_path / "found", "--home", folder, code=1)
    assert "UNKNOWN_KIND" in said
    assert len(list((tmp_path / "found").iterdir())) == 1, "by another one it is shown"
    start_again(auditor)


@pytest.mark.parametrize("name", ["audit", "trust", "reread", "differing"])
def test_a_flipped_bit_of_the_state_is_told_as_damage(auditor, tmp_path, name):
    """A version of the registry that no entry names would be one that the operator withholds."""
    run("audit", "follow", "--home", folder := auditor._home.folder)
    with closing(sqlite3.connect(folder / "audit.db")) as database, database:
        query = "SELECT value FROM state WHERE name = ?"
        (value,) = database.execute(query, (name,)).fetchone()
        flipped = (value[:-1] + bytes([value[-1] ^ 1]), name)
        database.execute("UPDATE state SET value = ? WHERE name = ?", flipped)
    auditor.search_person("ref:uci-1", reason="a complaint of today")
    assert follow(folder, tmp_path, code=1) == ["INDEX_DAMAGED"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM state WHERE name = 'trust'",
        "UPDATE entries SET log_index = (SELECT max(log_index) + 1 FROM entries) WHERE log_index=3",
    ],
)
def test_rows_that_are_gone_or_elsewhere_are_told_as_damage(auditor, tmp_path, statement):
    auditor.verify()
    change(folder := auditor._home.folder, statement)
    auditor.search_person("ref:uci-1", reason="a complaint of today")
    assert follow(folder, tmp_path, code=1) == ["INDEX_DAMAGED"]


def test_anomalies_are_not_believed_of_a_log_that_this_home_knows_to_be_forked(auditor, story):
    """A log that was written anew hid misuse, and the command said that each was verified."""
    story.rewritten(3, actor="somebody")
    with told(auditor, story), pytest.raises(LogFault) as caught:
        auditor.anomalies()
    assert caught.value.reason == "LOG_FORKED"


@pytest.mark.parametrize(
    ("whose", "reason"), [("the service's", "BAD_INCLUSION_PROOF"), ("own", "INDEX_DAMAGED")]
)
def test_an_entry_that_is_not_the_one_verified_hides_no_anomaly(auditor, story, whose, reason):
    served = list(story.lines)
    if whose == "own":
        change(auditor._home.folder, "UPDATE entries SET line = x'7b7d' WHERE log_index = 3")
    else:
        served[3] = replace(parse_entry(served[3]), kind="answer.refused").to_line()
    with told(auditor, story, serve=served), pytest.raises(CredproofError) as caught:
        auditor.anomalies()
    assert caught.value.reason == reason
