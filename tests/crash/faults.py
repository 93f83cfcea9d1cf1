"""`python -m tests.crash.faults --injections 500 --seed 7`: as the test, as often as one likes.

System calls on the files of the log and the databases fail, one after another, under load.
strace makes a call of the running service fail as a bad or full disk does: nothing else of the
process, and nothing of the machine, notices.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from credproof.base.errors import DataLoss, Unreachable
from credproof_server.demo.world import World

from tests.crash.killing import Victim, eager, finish, loaded, verify
from tests.crash.ledger import Ledger
from tests.crash.load import Client, Newcomers
from tests.deployment import lift_caps

TARGETS = {
    "log.db-wal": ("write,pwrite64", "fsync,fdatasync", "pread64"),
    "log.db": ("pread64",),
    "vault.db-wal": ("write,pwrite64", "fsync,fdatasync"),
    "high-water.new": ("openat", "write", "fsync", "rename"),
    ".": ("openat", "fsync"),
}
"""Files of a service's directory, and which of their calls fail together."""
AT_THE_START = {
    **TARGETS,
    "log.db": ("openat", "pread64", "pwrite64"),
    "vault.db": ("openat", "pread64", "pwrite64"),
    "high-water": ("openat",),
}
"""The same while the service starts."""
ERRORS = ("EIO", "ENOSPC")
START_EVERY = 16
"""Each so manieth round the fault comes while the killed service starts again."""
ROUNDS_MAX = 20
"""So many rounds for each fault at the most."""
WAIT_S = 0.6
"""How long a fault is waited for, in seconds: some calls are rare."""
TOLD = ("COMMIT_FAILED", "STORAGE_FAILED", "DATABASE_DAMAGED")
"""As what a call ends that a fault hit."""


@dataclass(frozen=True)
class Fault:
    """Calls on one file of the service's directory fail, the `when`th of each thread first.

    `step` 0 is once; else every `step`th after it fails too.
    """

    file: str
    calls: str
    error: str
    when: int
    step: int

    @classmethod
    def chosen(cls, chance: random.Random, targets: Mapping[str, Sequence[str]]) -> Fault:
        file = chance.choice(list(targets))
        calls = chance.choice(targets[file])
        step = chance.choice((0, 0, 3))
        return cls(file, calls, chance.choice(ERRORS), chance.randint(1, 4), step)

    def tracing(self, service: Path, output: Path) -> list[str]:
        """The command line of strace, up to what it is to trace."""
        when = f"{self.when}+{self.step}" if self.step else str(self.when)
        inject = f"inject={self.calls}:error={self.error}:when={when}"
        path = str((service / self.file).resolve())
        words = ["-P", path, "-e", f"trace={self.calls}", "-e", inject]
        return ["strace", "-f", "-o", str(output), *words]


@dataclass
class Injected:
    """What came of it: faults by file, starts that failed, and what the service kept."""

    ledger: Ledger
    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    starts_failed: int = 0

    @property
    def count(self) -> int:
        return self.faults.total()

    @property
    def felt(self) -> bool:
        """Whether a client was told to ask again, and faults came in more than two files.

        Some faults reach nobody (a checkpoint that is written again a moment later): by chance
        a whole run may have no others.
        """
        return self.ledger.broken > 0 and len(+self.faults) > 2


class Breaker:
    """Makes calls of one service fail."""

    def __init__(self, victim: Victim, service: Path, found: Injected) -> None:
        self._victim = victim
        self._service = service
        self._output = service.parent / "calls"
        self._found = found

    def while_it_runs(self, fault: Fault) -> None:
        """Attach, wait until the fault has come or will not, detach."""
        command = [*fault.tracing(self._service, self._output), "-p", str(self._victim.pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + WAIT_S
        while self._injected() == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.05 if fault.step == 0 else 0.3)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
        self._count(fault)

    def while_it_starts(self, fault: Fault) -> None:
        """Start the service under the fault; it starts, or ends and says why."""
        self._victim.kill()
        tracing = fault.tracing(self._service, self._output)
        if not self._victim.starts_under([*tracing, "-D", "--seccomp-bpf"]):
            self._found.starts_failed += 1
        self._victim.kill()
        self._count(fault)
        self._victim.start()

    def _injected(self) -> int:
        if not self._output.exists():
            return 0
        return self._output.read_text(errors="replace").count("(INJECTED)")

    def _count(self, fault: Fault) -> None:
        self._found.faults[fault.file] += self._injected()
        self._output.unlink(missing_ok=True)


class Traced(Victim):
    """A victim that may be started under another program."""

    @property
    def pid(self) -> int:
        assert self._process.poll() is None, "a fault ended the service"
        return self._process.pid

    def stop_alone(self) -> None:
        """End it in order, and keep its log open."""
        self._process.terminate()
        self._process.wait(30)
        self.kill()

    def starts_under(self, tracing: list[str]) -> bool:
        """Whether it listens; else it has ended by itself, with a code for damage or a refusal."""
        usual, self._command = self._command, [*tracing, *self._command]
        try:
            self.start()
            return True
        except Exception:
            code = self._process.wait(30)
            assert code in (1, 2, 3), f"it ended with {code} and did not say why"
            return False
        finally:
            self._command = usual


def cannot_trace() -> str:
    """Why strace cannot work here; empty if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen(["sleep", "5"]) as sleeper:
        command = ["timeout", "-s", "INT", "0.3", "strace", "-p", str(sleeper.pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        sleeper.kill()
    return "" if "attached" in done.stderr else f"ptrace is denied here: {done.stderr[:100]}"


def break_calls(
    folder: Path,
    *,
    injections: int,
    seed: int,
    progress: Callable[[int], None] = lambda _count: None,
) -> Injected:
    """Let `injections` calls or more of a service fail under load; then verify all it said.

    Raises:
        AssertionError: something acknowledged is not there once, something else is half there, the
            log does not go on, or a fault was not told as what it is.
    """
    world, found = World(folder), Injected(Ledger(), seed)
    world.make()
    victim = Traced(world)
    breaker = Breaker(victim, world.service, found)
    try:
        world.populate()
        lift_caps(world.service)
        with eager(), patch.object(Client, "passing", (Unreachable, DataLoss)):
            clients = [*loaded(world, found.ledger), Newcomers(found.ledger, world, "new")]
            clients[-1].start()
            rounds = 0
            while not (found.count >= injections and found.felt and told(folder)):
                rounds += 1
                assert rounds < ROUNDS_MAX * injections, "faults do not come, or nobody feels them"
                chance, starts = random.Random(f"{seed} {rounds}"), rounds % START_EVERY == 0
                fault = Fault.chosen(chance, AT_THE_START if starts else TARGETS)
                (breaker.while_it_starts if starts else breaker.while_it_runs)(fault)
                assert not any(client.failed for client in clients), "a client ended"
                progress(found.count)
            finish(clients)
        victim.stop_alone()
        victim.start()
        verify(world, found.ledger)
    finally:
        victim.end()
    require_no_fault_of_the_program(folder)
    return found


def told(folder: Path) -> bool:
    """Whether the service told a fault by its reason."""
    log = (folder / "service.log").read_text(errors="replace")
    return any(f'"{reason}"' in log for reason in TOLD)


def require_no_fault_of_the_program(folder: Path) -> None:
    """No fault of a disk is told as one of the program."""
    log = (folder / "service.log").read_text(errors="replace")
    assert "Traceback" not in log
    assert '"INTERNAL"' not in log


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.faults", description=__doc__)
    parser.add_argument("--injections", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    if why := cannot_trace():
        sys.exit(why)
    print(f"seed {options.seed}", flush=True)  # before anything can fail
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = break_calls(
            Path(folder),
            injections=options.injections,
            seed=options.seed,
            progress=lambda count: print(f"\r{count} calls failed", end="", flush=True),
        )
    where = ", ".join(f"{file} {count}" for file, count in sorted(found.faults.items()))
    ledger = found.ledger
    print(
        f"\n{found.count} calls failed in {time.monotonic() - started:.0f} s ({where});"
        f" {found.starts_failed} starts refused; {len(ledger.tokens)} attestations,"
        f" {len(ledger.consents)} consents and {len(ledger.answers)} answers acknowledged, each"
        f" there once; {ledger.broken} calls told to ask again"
    )


if __name__ == "__main__":
    main()
