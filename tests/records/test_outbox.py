"""The outbox: what is kept is sent again byte for byte, each place in a chain once."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from credproof.base.errors import Conflict, DataLoss
from credproof.base.keys import Ed25519Signer
from credproof.records.outbox import Item, Outbox

from tests.deployment import package, statement

JANUARY, FEBRUARY = dt.date(2026, 1, 31), dt.date(2026, 2, 28)


def item(
    account: str = "card-1", seq: int = 1, *, token: str | None = None, as_of: dt.date = JANUARY
) -> Item:
    name = token or f"{account}/{seq}"
    return Item(
        schema_id="small/1",
        account=account,
        as_of=as_of,
        seq=seq,
        token_id=name.encode().ljust(32, b"."),
        sub=b"\x02" * 32,
        basis=b"\x03" * 32,
        package=b"package of " + name.encode() + bytes(range(256)),
        line=seq + 1,
        run="20261124T093000Z",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
def outbox(path: Path) -> Iterator[Outbox]:
    with Outbox(path) as opened:
        yield opened


def test_the_same_bytes_come_back_after_reopening(path: Path) -> None:
    items = [item(f"card-{n}") for n in range(5)]
    with Outbox(path) as outbox:
        outbox.add(items)
    for _ in range(2):
        with Outbox(path) as outbox:
            assert outbox.pending(10) == items
            assert outbox.newest("small/1", ["card-3"]) == {"card-3": items[3]}


def test_receipts_and_refusals_survive_reopening(path: Path) -> None:
    one, two = item("card-1"), item("card-2")
    with Outbox(path) as outbox:
        outbox.add([one, two])
        outbox.mark_accepted([(one.token_id, 41)])
        outbox.mark_rejected([(two.token_id, "TOO_OLD")])
    with Outbox(path) as outbox:
        assert outbox.pending(10) == []
        assert outbox.counts() == {"accepted": 1, "rejected": 1}
        accepted = dataclasses.replace(one, state="accepted", log_index=41)
        assert outbox.newest("small/1", ["card-1", "card-2"]) == {"card-1": accepted}


def test_one_user_at_a_time(path: Path) -> None:
    with Outbox(path):
        with pytest.raises(Conflict) as caught:
            Outbox(path)
        assert caught.value.reason == "OUTBOX_BUSY"
    with Outbox(path) as again:
        again.add([item()])


def test_another_process_is_refused_while_one_has_it(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from credproof.base.errors import Conflict\n"
        "from credproof.records.outbox import Outbox\n"
        "try:\n    Outbox(Path(sys.argv[1])).close()\n"
        "except Conflict as error:\n    sys.exit(error.reason)\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    with Outbox(path):
        busy = subprocess.run(command, capture_output=True, text=True, check=False)
    free = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (busy.returncode, busy.stderr.strip()) == (1, "OUTBOX_BUSY")
    assert (free.returncode, free.stderr) == (0, "")


def test_a_process_that_dies_leaves_what_it_added_and_no_lock(path: Path) -> None:
    code = (
        "import datetime, os, sys; from pathlib import Path\n"
        "from credproof.records.outbox import Item, Outbox\n"
        "outbox, day = Outbox(Path(sys.argv[1])), datetime.date(2026, 1, 31)\n"
        "outbox.add([Item('small/1', 'a', day, 1, b't', b's', b'b', b'bytes', 2, 'run')])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with Outbox(path) as outbox:
        assert [kept.package for kept in outbox.pending(10)] == [b"bytes"]


def test_a_place_in_a_chain_is_taken_once(outbox: Outbox) -> None:
    outbox.add([item()])
    with pytest.raises(Conflict, match="already") as caught:
        outbox.add([item(token="another token")])
    assert caught.value.reason == "OUTBOX_TAKEN"
    outbox.mark_accepted([(item().token_id, 1)])
    with pytest.raises(Conflict, match="already"):
        outbox.add([item(token="another token")])
    assert outbox.counts() == {"accepted": 1}


def test_a_rejected_place_is_free_again(outbox: Outbox) -> None:
    outbox.add([item()])
    outbox.mark_rejected([(item().token_id, "TOO_OLD")])
    assert outbox.newest("small/1", ["card-1"]) == {}
    second = item(token="another token")
    outbox.add([second])
    assert outbox.newest("small/1", ["card-1"]) == {"card-1": second}
    outbox.mark_rejected([(second.token_id, "TOO_OLD")])
    outbox.add([item(token="a third")])
    assert outbox.counts() == {"pending": 1, "rejected": 2}


def test_a_token_is_kept_once_even_after_its_refusal(outbox: Outbox) -> None:
    outbox.add([item()])
    outbox.mark_rejected([(item().token_id, "TOO_OLD")])
    with pytest.raises(Conflict, match="already"):
        outbox.add([item()])


def test_other_accounts_schemas_and_places_do_not_collide(outbox: Outbox) -> None:
    other = dataclasses.replace(item(token="of another schema"), schema_id="other/1")
    outbox.add([item(), item("card-2"), item(seq=2), other])
    assert outbox.counts() == {"pending": 4}
    assert outbox.newest("other/1", ["card-1", "card-2"]) == {"card-1": other}


def test_add_takes_all_or_none(outbox: Outbox) -> None:
    outbox.add([item("card-1")])
    clash = item("card-1", token="another token")
    for batch in ([item("card-2"), clash], [clash, item("card-2")]):
        with pytest.raises(Conflict, match="already"):
            outbox.add(batch)
        assert outbox.pending(10) == [item("card-1")]
    outbox.add([item("card-2")])
    assert len(outbox.pending(10)) == 2


def test_an_empty_batch_changes_nothing(outbox: Outbox) -> None:
    outbox.add([])
    outbox.mark_accepted([])
    outbox.mark_rejected([])
    assert outbox.counts() == {}


def test_pending_comes_in_the_order_of_adding(outbox: Outbox) -> None:
    items = [item(f"card-{n * 7 % 20}", token=f"{n * 13 % 20:02}") for n in range(20)]
    outbox.add(items[:10])
    outbox.add(items[10:])
    assert outbox.pending(3) == items[:3]
    assert outbox.pending(100) == items
    outbox.mark_accepted([(items[0].token_id, 5)])
    outbox.mark_rejected([(items[2].token_id, "BAD_VALUE")])
    assert outbox.pending(2) == [items[1], items[3]]


def test_newest_is_the_highest_place_of_each_account_asked_for(outbox: Outbox) -> None:
    outbox.add([item(seq=2), item(seq=10), item(seq=9), item("card-2")])
    found = outbox.newest("small/1", ["card-1", "card-2", "nobody"])
    assert {account: kept.seq for account, kept in found.items()} == {"card-1": 10, "card-2": 1}
    assert outbox.newest("small/1", []) == {}


def test_newest_answers_for_more_accounts_than_one_query_holds(outbox: Outbox) -> None:
    items = [item(f"card-{n}") for n in range(1201)]
    outbox.add(items)
    found = outbox.newest("small/1", [kept.account for kept in items])
    assert len(found) == 1201


def test_newest_of_days_is_the_highest_place_of_each_account_and_day(outbox: Outbox) -> None:
    second, third, other = (
        item(seq=2, as_of=FEBRUARY),
        item(seq=3, as_of=JANUARY),
        item("card-2", as_of=FEBRUARY),
    )
    outbox.add([item(), second, third, other])
    days = [("card-1", JANUARY), ("card-1", FEBRUARY), ("card-2", JANUARY), ("card-2", FEBRUARY)]
    assert outbox.newest_of_days("small/1", days) == {
        ("card-1", JANUARY): third,
        ("card-1", FEBRUARY): second,
        ("card-2", FEBRUARY): other,
    }
    assert outbox.newest_of_days("other/1", days) == {}
    outbox.mark_rejected([(third.token_id, "BAD_VALUE")])
    assert outbox.newest_of_days("small/1", days)["card-1", JANUARY] == item()


def test_a_refusal_and_what_is_sent_instead_are_kept_together_or_not_at_all(
    outbox: Outbox,
) -> None:
    outbox.add([item(), item("card-2")])
    anew = item(token="signed anew")
    refusals = [(item().token_id, "TOO_OLD")]
    with pytest.raises(Conflict):
        outbox.mark_rejected(refusals, [anew, item("card-2", token="a clash")])
    assert outbox.pending(10) == [item(), item("card-2")]
    outbox.mark_rejected(refusals, [anew])
    assert outbox.pending(10) == [item("card-2"), anew]


def test_an_account_with_quotes_is_only_a_name(outbox: Outbox) -> None:
    hostile = item("x' OR '1'='1")
    outbox.add([hostile, item()])
    assert outbox.newest("small/1", [hostile.account]) == {hostile.account: hostile}


def test_only_the_owner_can_read_its_files(path: Path) -> None:
    before = os.umask(0)
    try:
        with Outbox(path) as outbox:
            outbox.add([item()])
            modes = {p.name: p.stat().st_mode & 0o777 for p in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert path.name in modes
    assert set(modes.values()) == {0o600}


def test_a_receipt_is_final(outbox: Outbox) -> None:
    outbox.add([item()])
    outbox.mark_accepted([(item().token_id, 41)])
    outbox.mark_rejected([(item().token_id, "BAD_VALUE")])
    outbox.mark_accepted([(item().token_id, 42)])
    kept = outbox.newest("small/1", ["card-1"])["card-1"]
    assert (kept.state, kept.log_index, kept.reason) == ("accepted", 41, None)


def test_a_refusal_is_final(outbox: Outbox) -> None:
    outbox.add([item()])
    outbox.mark_rejected([(item().token_id, "BAD_VALUE")])
    outbox.add([item(token="signed anew")])
    outbox.mark_accepted([(item().token_id, 41)])
    assert outbox.counts() == {"pending": 1, "rejected": 1}


def test_an_outbox_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.touch()
    path.chmod(0o644)
    with Outbox(path) as outbox:
        outbox.add([item()])
        assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o600}


def test_a_damaged_outbox_is_told_and_not_left_locked(path: Path) -> None:
    path.write_bytes(b"not a database " * 1000)
    for _ in range(2):
        with pytest.raises(DataLoss) as caught:
            Outbox(path)
        assert caught.value.reason == "OUTBOX_DAMAGED"
    path.unlink()
    Outbox(path).close()


def test_damage_found_later_is_told_too(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.add([item(f"card-{n}") for n in range(200)])
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(DataLoss) as caught, Outbox(path) as outbox:
        outbox.pending(200)
    assert caught.value.reason == "OUTBOX_DAMAGED"


def test_a_disk_that_is_full_is_told_and_keeps_what_was_there(outbox: Outbox) -> None:
    outbox.add([item()])
    (pages,) = outbox._db.execute("PRAGMA page_count").fetchone()
    outbox._db.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(DataLoss, match="full") as caught:
        outbox.add([item(f"card-{n}") for n in range(2, 200)])
    assert caught.value.reason == "OUTBOX_DAMAGED"
    assert outbox.pending(10) == [item()]


OLD_TABLE = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY, schema_id TEXT NOT NULL, account TEXT NOT NULL,
    seq INTEGER NOT NULL, token_id BLOB NOT NULL UNIQUE, sub BLOB NOT NULL, basis BLOB NOT NULL,
    package BLOB NOT NULL, line INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'pending',
    log_index INTEGER, reason TEXT
);
CREATE UNIQUE INDEX one_token_per_seq ON items (schema_id, account, seq) WHERE state != 'rejected';
"""


def old_outbox(path: Path, rows: list[tuple[int, bytes, str]]) -> None:
    """An outbox as it was before it had days: `seq`, package and state of each item."""
    with sqlite3.connect(path) as db:
        db.executescript(OLD_TABLE)
        db.executemany(
            "INSERT INTO items (schema_id, account, seq, token_id, sub, basis, package, line, "
            "state) VALUES ('small/1', 'card-1', ?, hex(randomblob(16)), x'02', x'03', ?, 1, ?)",
            rows,
        )
    db.close()


def package_of(as_of: dt.date) -> bytes:
    return package(statement(as_of=as_of), Ed25519Signer(bytes(32)))


def test_an_outbox_without_days_gets_them_from_its_packages(path: Path) -> None:
    january, february = package_of(JANUARY), package_of(FEBRUARY)
    refused = (2, b"refused for not being a package", "rejected")
    old_outbox(path, [(1, january, "accepted"), refused, (2, february, "pending")])
    for _ in range(2):
        with Outbox(path) as outbox:
            (pending,) = outbox.pending(10)
            assert (pending.as_of, pending.package) == (FEBRUARY, february)
            found = outbox.newest_of_days("small/1", [("card-1", JANUARY)])
            assert [kept.package for kept in found.values()] == [january]
            assert outbox.counts() == {"accepted": 1, "pending": 1, "rejected": 1}


def test_an_old_outbox_with_a_damaged_package_is_told_and_left_as_it_is(path: Path) -> None:
    old_outbox(path, [(1, package_of(JANUARY), "accepted"), (2, b"damaged", "pending")])
    with pytest.raises(DataLoss) as caught:
        Outbox(path)
    assert caught.value.reason == "OUTBOX_DAMAGED"
    with sqlite3.connect(path) as db:
        assert "as_of" not in [row[1] for row in db.execute("PRAGMA table_info(items)")]
        assert db.execute("SELECT count(*) FROM items").fetchone() == (2,)
    db.close()
