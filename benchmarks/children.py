"""Child processes as the benchmark sees them: started, read from `/proc`, ended without fail."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from credproof.base.closing import Closing

ECHO = "/bench.Echo/Call"
START_S = 120.0
STOP_S = 30.0
SIGNAL_S = 0.3
"""How long a profiled child gets to forget, in seconds."""
_TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
_ROOT = Path(__file__).resolve().parent.parent


class Child(Closing):
    """One `benchmarks.child`; use it in a `with` statement. It listens once this is made."""

    def __init__(self, what: str, folder: Path, *, profile: Path | None = None) -> None:
        arguments = [what, folder, *([profile] if profile else [])]
        command = [sys.executable, "-m", "benchmarks.child", *map(str, arguments)]
        self._is_profiled = profile is not None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as we do
        started = time.monotonic()
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._errors, cwd=_ROOT
        )
        try:
            self.address = self._await_start()
        except BaseException:
            self.close()
            raise
        self.start_s = time.monotonic() - started

    def close(self) -> None:
        """End it: asked first, then not. Does nothing when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    # -- what the kernel knows of it

    def meter(self) -> Callable[[], float]:
        """Begin to measure: gives the CPU microseconds of all its threads since then."""
        if self._is_profiled:
            self._process.send_signal(signal.SIGUSR1)
            time.sleep(SIGNAL_S)
        begun = self._cpu_us()
        return lambda: self._cpu_us() - begun

    def _cpu_us(self) -> float:
        """utime + stime, in steps of a tick."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text("ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_US

    def memory_mb(self, name: str = "VmRSS") -> float:
        """Resident memory, now (`VmRSS`) or at its peak (`VmHWM`)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        line = next(line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1000

    # -- its start

    def _await_start(self) -> str:
        """The participants' address, out of the lines that it prints once it listens."""
        assert self._process.stdout is not None
        output, seen = self._process.stdout, b""
        deadline = time.monotonic() + START_S
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"borrowers" not in seen:
                ready = selector.select(deadline - time.monotonic())
                more = os.read(output.fileno(), 4096) if ready else b""
                if not more:
                    raise RuntimeError(f"a child did not start: {self._said()}")
                seen += more
        return seen.split()[1].decode("ascii")

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-2000:].decode("utf-8", "replace")
