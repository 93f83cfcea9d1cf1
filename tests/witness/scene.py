"""A service whose quorum is two of three witnesses, and copies of it that are not what they saw."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from credproof import standard
from credproof.base.errors import CredproofError, DataLoss, Unreachable
from credproof.cli.app import app
from credproof.lender import KeptAnswer
from credproof.log.cosignature import Ed25519Cosigner
from credproof.log.note import parse_note
from credproof.log.witness import parse_add_checkpoint
from credproof.verification.trust import Trust
from credproof_server import quorums, standing
from credproof_server.admission import change_bundle
from credproof_server.backups import making
from credproof_server.config import FILE_NAME
from credproof_server.demo.world import AUDITOR, LENDER, World
from credproof_server.directory import HIGH_WATER, WITNESSED, ServiceDirectory
from credproof_server.witness import store
from typer.testing import CliRunner

from tests.cli.command import run
from tests.deployment import watch
from tests.proposing import proposed, variant
from tests.rpc.conftest import Running
from tests.witness.test_asking import Liar
from tests.witness.test_witness import Served

REQUIRED = variant("witnessed-standing", witness="required")
WAIT_S = 100.0
"""Longer than a service leaves a witness alone that was down."""


class Scene:
    """A service whose quorum is two of three witnesses, one of which lies."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.make()
        watch(self.world.service, "")
        self._listen()
        self.witnesses = [self._witness(name) for name in ("one", "two")]
        thief = Ed25519Cosigner("liar.example", bytes([8] * 32))

        def lie(body: bytes) -> tuple[int, bytes]:
            text = parse_note(parse_add_checkpoint(body).note).text if body else ""
            return (200, thief.cosign(text, int(time.time())).encode()) if text else (500, b"")

        self.liar = Liar(lie)
        self.quorum = "".join(self.lines()) + "group enough 2 one two liar\nquorum enough\n"
        self.running = Running(self.world)
        self.served = ExitStack()

    def _listen(self) -> None:
        path = self.world.service / FILE_NAME
        text = path.read_text().replace('tiles_listen = ""', 'tiles_listen = "127.0.0.1:0"')
        path.write_text(text)

    def _witness(self, name: str) -> Served:
        folder = self.world.folder / f"witness-{name}"
        store.init(folder, f"witness.example/{name}")
        with closing(store.Witness(folder)) as witness:
            witness.add_log(self.directory.log_signer().verifier_key)
        return Served(folder)

    def lines(self) -> Iterator[str]:
        for name, served in zip(("one", "two"), self.witnesses, strict=True):
            with closing(store.Witness(served.folder)) as witness:
                key = witness.cosigners[0].key
            yield f"witness {name} {key} http://{served.address}/\n"
        yield self.liar.line

    @property
    def directory(self) -> ServiceDirectory:
        return ServiceDirectory(self.world.service)

    @property
    def lender_home(self) -> Path:
        return self.world.home(LENDER)

    def start(self) -> None:
        self.served.enter_context(self.world.served())

    def stop(self) -> None:
        self.served.close()

    def publish_policy(self) -> None:
        pin = proposed(self.world.service, REQUIRED).pin
        change_bundle(
            self.directory,
            lambda now: replace(now.bundle, policies=(*now.bundle.policies, pin)),
            None,
            documents=(REQUIRED.document,),
        )

    def ask(self, policy: str, *, wait_s: float = WAIT_S):
        with self.world.lender() as lender:
            lender.witness_wait_s = wait_s
            subject, borrower = self.running.person()
            found = lender.subject(subject)
            request = lender.request(found, policy_id=policy)
            consent = borrower.consent(borrower.check(request), language="zh")
            return lender.ask(found, policy_id=policy, consent=consent)

    def refresh(self, bundle):
        """The answer, once witnesses have come so far."""
        with self.world.lender() as lender:
            return until(lambda: lender.refresh(bundle))

    def checkpoint(self) -> tuple[int, bytes]:
        running = json.loads((self.world.service / "running.json").read_text())
        connection = http.client.HTTPConnection(running["tiles"], timeout=10)
        connection.request("GET", "/checkpoint")
        reply = connection.getresponse()
        found = reply.status, reply.read()
        connection.close()
        return found

    def kept(self) -> bytes:
        return (self.world.service / WITNESSED).read_bytes()

    @property
    def is_witnessed(self) -> bool:
        """Whether witnesses have cosigned all that was signed."""
        notes = [self.world.service / name for name in (WITNESSED, HIGH_WATER)]
        texts = [path.read_text().partition("\n\n")[0] for path in notes if path.exists()]
        return len(texts) == len(notes) and len(set(texts)) == 1

    def trust(self) -> Trust:
        return self.running.home(LENDER).trust(at=0)


def until(call):
    """What a call gives once witnesses have cosigned."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return call()
        except CredproofError as error:
            if error.reason != "NOT_WITNESSED_YET" or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


class Copies:
    """A service that is behind, and one that went another way; then all witnesses are down.

    `told` is what callers were told by the second, while it ran and witnesses came back.
    """

    def __init__(self, scene: Scene, folder: Path) -> None:
        quorums.set_quorum(scene.world.service, scene.quorum.encode())
        kept = scene.ask("revolving-standing")
        scene.stop()
        self.folder, self.scene = folder, scene
        self.shown = folder / "shown"
        self.behind, world = folder / "behind", scene.world.copy(folder / "other")
        self.forked = world.service
        shutil.copytree(scene.world.service, self.behind)
        scene.start()
        set_days(scene.world.service, 29)
        until(lambda: None if scene.is_witnessed else pending())
        scene.stop()
        making.back_up(scene.directory, folder / "backup", folder / "keys")
        assert refused(self.behind) == "LOG_BEHIND"
        self.told = self._fork(world, kept)

    def _fork(self, world: World, kept: KeptAnswer) -> dict[str, str]:
        for witness in self.scene.witnesses:
            witness.stop()
        for days in range(30, 34):  # nobody hears of these: more than the others have since
            set_days(world.service, days)
        with world.served():
            for witness in self.scene.witnesses:
                witness.start()
            told = self._told(world, kept)
        for witness in self.scene.witnesses:
            witness.stop()
        return told

    def _told(self, world: World, kept: KeptAnswer) -> dict[str, str]:
        home, file = str(world.home(AUDITOR)), self.folder / "kept.answer"
        file.write_bytes(kept.to_bytes())
        refresh = ("lender", "refresh", str(file), "--home", str(world.home(LENDER)))
        until(lambda: None if "LOG_FORKED" in tried(*refresh) else pending())
        return {
            "operator": run("participant", "suspend", str(world.service), LENDER, code=1),
            "lender": run(*refresh, code=1),
            "verify": run("audit", "verify", "--home", home, code=1),
            "follow": run("audit", "follow", "--home", home, "--evidence", self.shown, code=1),
            "export": run("audit", "export", str(self.folder / "tiles"), "--home", home, code=1),
            "show": run("quorum", "show", str(world.service)),
        }


def set_days(service: Path, days: int) -> None:
    """One more entry, by a new trust bundle."""
    standing.set_template(service, replace(standard.purposes()[0], data_life_days=days))


def tried(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    return done.output


def pending() -> NoReturn:
    raise Unreachable("NOT_WITNESSED_YET", "the service has not noticed yet")


def refused(service: Path) -> str:
    with pytest.raises(DataLoss) as caught:
        ServiceDirectory(service).open_core()
    return caught.value.reason
