"""The service's side: it keeps what verifies, and goes on whatever an authority does."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError
from credproof.base.limits import TIMESTAMP_AUTHORITIES_MAX, TIMESTAMP_EVERY_MAX_S, URL_CHARS_MAX
from credproof.log.timestamp import verify_timestamp
from credproof_server.backups import making, refilling, restoring
from credproof_server.checking import check
from credproof_server.config import FILE_NAME, TEMPLATE, parse_config
from credproof_server.directory import ServiceDirectory, now
from credproof_server.log import outside
from credproof_server.log.timestamps import Asked, Timestamping
from credproof_server.service.core import fresh_salt
from credproof_server.storage import stamps
from credproof_server.storage.tables import timestamps
from sqlalchemy import update

from tests.deployment import Deployment
from tests.timestamps.authority import Certificates, Served
from tests.witness.test_asking import Clock

EVERY_S = 60


class Grow:
    """Logs one entry more."""

    def apply(self, tx) -> int:
        return tx.append("answer.whispered", "lend", bytes(32), salt=fresh_salt(), fields={})


class Scene:
    """A service below its network, and one authority that it asks once a minute."""

    def __init__(self, folder) -> None:
        self.deployment = Deployment(folder)
        self.core = self.deployment.directory.open_core()
        self.certificates = Certificates(folder / "authority")
        self.served = Served(self.certificates)
        self.begin()

    def begin(self, *more: Asked, time_of=now) -> None:
        """The asking starts, as with the service."""
        self.clock = Clock()
        self.served.answer = self.served.honestly
        self.served.queries.clear()
        one = Asked(self.certificates.trusted(), self.served.url)
        with self.core.engine.connect() as connection:
            kept = stamps.newest(connection)
        self.timestamping = Timestamping(
            self.core.sequencer, (*more, one), EVERY_S, kept, time_of, self.clock
        )
        self.clock.now = float(EVERY_S)

    def grow(self) -> int:
        """Log something; gives the log's size."""
        return self.core.sequencer.submit(Grow()).result().head.tree_size

    def stamp(self, *, after_s: float = 0.0) -> int:
        """One round some seconds later; gives how often the authority was asked so far."""
        self.clock.now += after_s
        self.timestamping.stamp()
        return len(self.served.queries)

    def rows(self) -> list:
        with self.core.engine.connect() as connection:
            return list(stamps.all_stamps(connection))

    def close(self) -> None:
        self.core.close()
        self.served.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("asking"))
    yield made
    made.close()


@pytest.fixture
def scene(opened) -> Scene:
    """The log has grown, and the authority is due."""
    opened.grow()
    opened.begin()
    return opened


def test_a_checkpoint_is_stamped_once_per_interval_and_only_when_the_log_has_grown(scene):
    size = scene.grow()
    assert [scene.stamp(), scene.stamp(), scene.stamp(after_s=10 * EVERY_S)] == [1, 1, 1]
    row = scene.rows()[-1]
    assert (row.tree_size, row.note) == (size, scene.core.sequencer.head.note)
    found = verify_timestamp(row.response, row.note, scene.certificates.trusted())
    assert found.time == row.time
    scene.grow()
    assert scene.stamp() == 2
    scene.grow()
    assert [scene.stamp(), scene.stamp(after_s=EVERY_S - 1), scene.stamp(after_s=1)] == [2, 2, 3]


def test_a_service_that_starts_again_does_not_ask_sooner(scene):
    scene.stamp()
    scene.grow()
    scene.begin()
    scene.clock.now = 0.0
    assert [scene.stamp(), scene.stamp(after_s=EVERY_S)] == [0, 1]


def another_digest(scene):
    return lambda _: (200, scene.certificates.stamp_note(scene.core.sequencer.sign(3)))


def another_nonce(scene):
    return lambda _: (200, scene.certificates.stamp_note(scene.core.sequencer.head.note))


def by(certificates: Certificates):
    return lambda query: (200, certificates.stamp(query))


def refused(scene, caplog, answer) -> str:
    """The reason for which nothing was kept of an answer; then the authority is honest again."""
    kept = len(scene.rows())
    scene.served.answer = answer
    asked = scene.stamp()
    assert scene.stamp() == asked, "it is left alone for a while"
    assert len(scene.rows()) == kept
    told = json.loads(caplog.messages.pop())
    assert told["timestamp_authority"] == "one"
    scene.served.answer = scene.served.honestly
    assert scene.stamp(after_s=600) == asked + 1
    assert len(scene.rows()) == kept + 1, "it is asked again"
    return told["reason"]


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (another_digest, "TIMESTAMP_OTHER_DIGEST"),
        (another_nonce, "TIMESTAMP_OTHER_NONCE"),
        (lambda _: lambda _: (500, b""), "TIMESTAMP_UNREACHABLE"),
        (lambda _: lambda _: (302, b""), "TIMESTAMP_UNREACHABLE"),
        (lambda _: lambda _: (200, b"what?"), "BAD_TIMESTAMP"),
        (lambda _: lambda _: (200, bytes(1_000_000)), "LIMIT_EXCEEDED"),
    ],
)
def test_an_authority_that_answers_nonsense_is_told_and_asked_again_later(
    scene, caplog, lie, reason
):
    assert refused(scene, caplog, lie(scene)) == reason


def test_a_timestamp_by_an_expired_or_another_certificate_is_not_kept(scene, caplog, tmp_path):
    other = Certificates(tmp_path / "other")
    assert refused(scene, caplog, by(other)) == "TIMESTAMP_NOT_TRUSTED"
    scene.grow()
    scene.begin()
    expired = Certificates(tmp_path / "expired", days=(-20, -10))
    expired.file = scene.certificates.file
    assert refused(scene, caplog, by(expired)) == "TIMESTAMP_NOT_TRUSTED"


def test_an_authority_whose_clock_is_not_ours_stamps_nothing_that_is_kept(scene, caplog):
    scene.begin(time_of=lambda: now() + 3600)
    kept = len(scene.rows())
    scene.stamp()
    assert json.loads(caplog.messages.pop())["reason"] == "TIMESTAMP_OTHER_TIME"
    assert len(scene.rows()) == kept


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", None], ids=["dead", "without TLS"])
def test_an_authority_that_is_not_there_hinders_no_other_and_no_commit(scene, caplog, url):
    authority = replace(scene.certificates.trusted(), name="dead")
    scene.begin(Asked(authority, url or scene.served.url.replace("http:", "https:")))
    size = scene.grow()
    scene.stamp()
    told = [json.loads(message) for message in caplog.messages]
    assert {"timestamp_authority": "dead", "reason": "TIMESTAMP_UNREACHABLE"} in told
    assert scene.rows()[-1].tree_size == size


def test_an_authority_that_never_ends_is_cut_off_and_commits_go_on(scene, caplog, monkeypatch):
    """It drips a byte now and then: no single wait is long."""
    monkeypatch.setattr(outside, "DEADLINE_S", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as server:
        dripping = threading.Thread(target=drip, args=(server,), daemon=True)
        dripping.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        slow = Asked(scene.certificates.trusted(), url)
        asking = Timestamping(scene.core.sequencer, (slow,), EVERY_S, {}, now)
        round_of = threading.Thread(target=asking.stamp)
        round_of.start()
        scene.grow()
        assert round_of.is_alive(), "a commit was made while it drips"
        round_of.join(20)
        assert not round_of.is_alive()
    assert json.loads(caplog.messages.pop())["reason"] == "TIMESTAMP_UNREACHABLE"


def drip(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
        for _ in range(200):
            try:
                connection.sendall(b"x")
            except OSError:
                return
            time.sleep(0.1)


def test_a_restored_service_has_what_was_stamped_since_its_backup(scene, tmp_path):
    directory = scene.deployment.directory
    size = making.back_up(directory, tmp_path / "main", tmp_path / "keys")
    scene.stamp()
    scene.grow()
    scene.stamp(after_s=EVERY_S)
    making.export(directory, tmp_path / "since.db", size)
    folder = tmp_path / "restored"
    folder.mkdir()
    shutil.copy(directory.folder / "kek", folder / "kek")
    shutil.copy(directory.folder / "high-water", tmp_path / "mark")
    restoring.restore(folder, tmp_path / "main", tmp_path / "keys", tmp_path / "mark")
    refilling.refill(ServiceDirectory(folder), tmp_path / "since.db")
    again = ServiceDirectory(folder).open_core()
    with again.engine.connect() as connection:
        assert list(stamps.all_stamps(connection)) == scene.rows()
    again.close()


def test_a_kept_timestamp_that_was_altered_is_damage(scene):
    scene.stamp()
    directory = scene.deployment.directory
    assert check(directory).damage == ()
    row = scene.rows()[-1]
    change = update(timestamps).where(timestamps.c.tree_size == row.tree_size)
    with scene.core.engine.begin() as connection:
        connection.execute(change.values(response=scene.rows()[0].response))
    (damage,) = check(directory).damage
    assert (damage.what, damage.reason) == ("timestamp", "TIMESTAMP_OTHER_DIGEST")
    with scene.core.engine.begin() as connection:
        connection.execute(change.values(response=row.response, note=scene.rows()[0].note))
    (damage,) = check(directory).damage
    assert damage.what == "timestamp"
    with scene.core.engine.begin() as connection:
        connection.execute(change.values(note=row.note))


# -- settings


def settings(every: object = 60, **source: object) -> bytes:
    block = {"name": "one", "url": "http://127.0.0.1/", "certificates": "one.pem"} | source
    lines = [f"{name} = {json.dumps(value)}" for name, value in block.items()]
    listen = {"participants_listen": "127.0.0.1:0", "borrowers_listen": "127.0.0.1:0"}
    text = TEMPLATE.format(trust_domain="a.example", **listen)
    text = text.replace("every = 600", f"every = {every}")
    return "\n".join([text, "[[timestamps.authorities]]", *lines, ""]).encode()


def reason_of(data: bytes) -> str:
    with pytest.raises(CredproofError) as caught:
        parse_config(data)
    return caught.value.reason


def test_settings_name_who_is_asked_and_older_ones_nobody():
    found = parse_config(settings(TIMESTAMP_EVERY_MAX_S, policy="1.2.3")).timestamps
    assert found.every_s == TIMESTAMP_EVERY_MAX_S
    assert [(a.name, a.policy) for a in found.authorities] == [("one", "1.2.3")]
    without = settings().partition(b"[timestamps]")[0]
    assert parse_config(without).timestamps.authorities == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"every": 0},
        {"every": TIMESTAMP_EVERY_MAX_S + 1},
        {"name": "../up"},
        {"url": "ftp://127.0.0.1/"},
        {"url": "http:///x"},
        {"url": "http://127.0.0.1:99999/"},
        {"url": "http://127.0.0.1/" + "x" * URL_CHARS_MAX},
        {"policy": "any"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes):
    assert reason_of(settings(**changes)) == "BAD_CONFIG"


def test_settings_with_members_that_nobody_knows_or_too_many_authorities_are_refused():
    assert reason_of(settings(interval=3)) == "BAD_CONFIG"
    assert reason_of(settings(every='"60"')) == "BAD_CONFIG"
    block = b"[[" + settings().rpartition(b"[[")[2]
    assert reason_of(settings() + block) == "BAD_CONFIG"
    many = b"".join(
        block.replace(b'"one"', b'"one-%d"' % i) for i in range(TIMESTAMP_AUTHORITIES_MAX)
    )
    assert reason_of(settings() + many) == "LIMIT_EXCEEDED"


def test_certificates_that_are_not_there_or_none_stop_the_start_and_are_named(scene, tmp_path):
    made = Deployment(tmp_path)
    (made.service / FILE_NAME).write_bytes(settings(certificates="gone.pem"))
    for content, reason in ((None, "NO_CERTIFICATES"), (b"none", "BAD_CERTIFICATES")):
        if content is not None:
            (made.service / "gone.pem").write_bytes(content)
        with pytest.raises(CredproofError) as caught:
            made.directory.open_core()
        assert caught.value.reason == reason
        assert "gone.pem" in caught.value.message
