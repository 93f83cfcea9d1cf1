"""The demo's world: a real service in a process of its own, and participants with own homes."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from credproof.auditor import Auditor
from credproof.base.errors import Unreachable
from credproof.enrolment import enrol
from credproof.home import Home, join
from credproof.lender import Lender
from credproof.provider import Provider
from credproof.verification.participant import Licence, Role
from credproof.verification.policy import PURPOSES

from credproof_server import admission, setup
from credproof_server.custodian import directory as custodians
from credproof_server.directory import ServiceDirectory

DOMAIN: Final = "demo.credproof.example"
PROVIDER: Final = "taiwan-card"
LENDER: Final = "north-lender"
AUDITOR: Final = "audit-office"
ABUSER: Final = "quick-cash"
CUSTODIAN: Final = "notary-office"
_TITLES: Final = {
    PROVIDER: "Taiwan Card 台湾信用卡",
    LENDER: "North Lender 北方贷款",
    AUDITOR: "Audit Office 审计办公室",
    ABUSER: "Quick Cash 快钱",
    CUSTODIAN: "Notary Office 公证处",
}
YEAR_S: Final = 365 * 86_400
_LISTENED: Final = range(10_000, 32_000)
"""Ports below those that a kernel takes for callers by itself, which may be gone a moment later."""
START_S: Final = 30.0
STOP_S: Final = 30.0


class World:
    """Directories of one demo run: `service`, one per participant, and one of a custodian."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def service(self) -> Path:
        return self.folder / "service"

    def home(self, name: str) -> Path:
        """The home of a participant."""
        return self.folder / name

    def make(self, *, custodian: bool = False) -> None:
        """Make the service on free ports of the loopback interface, and a custodian if wanted."""
        first, second, third = _free_ports()
        setup.init(
            self.service,
            domain=DOMAIN,
            participants_listen=f"127.0.0.1:{first}",
            borrowers_listen=f"127.0.0.1:{second}",
        )

        if custodian:
            self._add_custodian(f"127.0.0.1:{third}")

    def _add_custodian(self, address: str) -> None:
        """A second party makes its share; the operator admits it before anybody has a pseudonym."""
        folder = self.home(CUSTODIAN)
        title = _TITLES[CUSTODIAN]
        settings = {"custodian_id": CUSTODIAN, "title": title, "address": address}
        enrolment = custodians.init(folder, listen=address, **settings)
        admitted = admission.admit(self.service, enrolment, role="custodian")
        root = ServiceDirectory(self.service).root()
        custodians.join(folder, admitted.to_bytes(), root_kid=root.kid)

    def admit(self, name: str, role: Role, **settings: Any) -> None:
        """Let a participant make its keys, and the operator admit it.

        A lender is licensed, unless `settings` of `admission.admit` say otherwise.
        """
        title = _TITLES.get(name, name.title())
        enrolment = enrol(self.home(name), role=role, participant_id=name, title=title)
        standing = licensed(int(time.time())) if role == "lender" else {}
        standing |= settings
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
        """The service runs, as `credproof serve` runs it, and the custodian if there is one."""
        with ExitStack() as running:
            running.enter_context(self.service_served())
            if self.home(CUSTODIAN).exists():
                running.enter_context(self.custodian_served())
            yield

    def service_served(self) -> AbstractContextManager[None]:
        """The service runs, without the custodian."""
        return self._run("service", "serve", self.service)

    def custodian_served(self) -> AbstractContextManager[None]:
        """The custodian runs, as `credproof custodian serve` runs it."""
        return self._run("custodian", "custodian", "serve", self.home(CUSTODIAN))

    @contextmanager
    def _run(self, name: str, *words: str | Path) -> Iterator[None]:
        command = [sys.executable, "-m", "credproof.cli.start", *map(str, words)]
        with (self.folder / f"{name}.log").open("ab") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr)  # noqa: S603
            try:
                _await_start(process, name)
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


def _await_start(process: subprocess.Popen[bytes], name: str) -> None:
    """Wait until the process has printed its last address."""
    assert process.stdout is not None
    last = {"service": b"borrowers", "custodian": b"custodian"}[name]
    os.set_blocking(process.stdout.fileno(), False)
    deadline = time.monotonic() + START_S
    seen = b""
    while time.monotonic() < deadline and process.poll() is None:
        seen += process.stdout.read() or b""
        if last in seen and seen.endswith(b"\n"):
            return
        time.sleep(0.05)
    raise Unreachable("NOT_STARTED", f"the {name} did not start: see {name}.log in the directory")


def _free_ports() -> tuple[int, int, int]:
    """Three ports that nobody listens on, none of those that the kernel gives to callers."""
    with ExitStack() as held:
        free: list[int] = []
        for port in random.sample(_LISTENED, len(_LISTENED)):
            each = held.enter_context(socket.socket())
            with suppress(OSError):
                each.bind(("127.0.0.1", port))
                free.append(port)
            if len(free) == 3:
                break
        first, second, third = free
        return first, second, third
