"""The demo's world: a real service in a process of its own, and participants with own homes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from credproof.auditor import Auditor
from credproof.base.errors import Unreachable
from credproof.home import Home, enrol, join
from credproof.lender import Lender
from credproof.provider import Provider
from credproof.verification.participant import Licence, Role
from credproof.verification.policy import PURPOSES

from credproof_server import admission, setup

DOMAIN: Final = "demo.credproof.example"
PROVIDER: Final = "taiwan-card"
LENDER: Final = "north-lender"
AUDITOR: Final = "audit-office"
ABUSER: Final = "quick-cash"
_TITLES: Final = {
    PROVIDER: "Taiwan Card 台湾信用卡",
    LENDER: "North Lender 北方贷款",
    AUDITOR: "Audit Office 审计办公室",
    ABUSER: "Quick Cash 快钱",
}
YEAR_S: Final = 365 * 86_400
START_S: Final = 30.0
STOP_S: Final = 30.0


class World:
    """Directories of one demo run: `service`, and one per participant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def service(self) -> Path:
        return self.folder / "service"

    def home(self, name: str) -> Path:
        """The home of a participant."""
        return self.folder / name

    def make(self) -> None:
        """Make the service on two free ports of the loopback interface."""
        first, second = _free_ports()
        setup.init(
            self.service,
            domain=DOMAIN,
            participants_listen=f"127.0.0.1:{first}",
            borrowers_listen=f"127.0.0.1:{second}",
        )

    def admit(self, name: str, role: Role) -> None:
        """Let a participant make its keys, and the operator admit it."""
        enrolment = enrol(self.home(name), role=role, participant_id=name, title=_TITLES[name])
        standing = licensed(int(time.time())) if role == "lender" else {}
        admitted = admission.admit(self.service, enrolment, **standing)
        join(self.home(name), admitted.to_bytes(), root_kid=None, now=int(time.time()))

    def populate(self) -> None:
        """Admit everybody; the lender learns the provider's fingerprint from the provider."""
        self.admit(PROVIDER, "provider")
        self.admit(LENDER, "lender")
        self.admit(AUDITOR, "auditor")
        fingerprint = Home(self.home(PROVIDER)).signer.public.kid
        Home(self.home(LENDER)).pin(PROVIDER, fingerprint)

    @contextmanager
    def served(self) -> Iterator[None]:
        """The service runs, as `credproof serve` runs it."""
        log = self.folder / "service.log"
        command = [sys.executable, "-m", "credproof.cli.start", "serve", str(self.service)]
        with log.open("ab") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)  # noqa: S603
            try:
                _await_start(process)
                yield
            finally:
                process.terminate()
                process.wait(STOP_S)

    def provider(self) -> Provider:
        return Provider.open(self.home(PROVIDER))

    def lender(self) -> Lender:
        return Lender.open(self.home(LENDER))

    def auditor(self) -> Auditor:
        return Auditor.open(self.home(AUDITOR))

    def copy(self, folder: Path) -> World:
        """The same world once more; only one of the two can be served at a time."""
        shutil.copytree(
            self.folder, folder, ignore=shutil.ignore_patterns("lies", "answers", "borrowers")
        )
        return World(folder)


def licensed(time: int) -> dict[str, Any]:
    """What lets a lender ask for every purpose for a year, as `admit` takes it."""
    until = time + YEAR_S
    licence = Licence("DEMO-1", time - YEAR_S, until)
    return {"licence": licence, "certified": dict.fromkeys(PURPOSES, until)}


def _await_start(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + START_S
    seen = b""
    while time.monotonic() < deadline and process.poll() is None:
        seen += process.stdout.read() or b""
        if b"borrowers" in seen and seen.endswith(b"\n"):
            return
        time.sleep(0.05)
    raise Unreachable("NOT_STARTED", "the service did not start: see service.log in the directory")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
