"""Ctrl-C ends a command without a traceback, whenever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from credproof.cli import app
from credproof.submission.attester import Processes

from tests.rpc.conftest import PROVIDER

WHILE_LOADING = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
from credproof.cli.start import main
main()
"""


@pytest.mark.parametrize("module", ["credproof.cli.app", "grpc", "sqlalchemy"])
def test_while_the_program_is_loaded(module):
    command = [sys.executable, "-c", WHILE_LOADING, "serve", module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_while_a_command_works(monkeypatch, capsys, tmp_path):
    def interrupted(_folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("credproof.borrower.create", interrupted)
    monkeypatch.setattr(sys, "argv", ["credproof", "borrower", "create", str(tmp_path / "me")])
    with pytest.raises(SystemExit) as caught:
        app.main()
    assert caught.value.code == app.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_while_processes_that_sign_are_started(running):
    """They never hear of it, from their first moment on: the parent ends the run."""
    workers = Processes(running.home(PROVIDER).folder, 1)
    try:
        (child,) = workers.children
        status = Path(f"/proc/{child.pid}/status").read_text()
        (blocked,) = (line.split()[1] for line in status.splitlines() if "SigBlk" in line)
        assert int(blocked, 16) & 1 << signal.SIGINT - 1
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        workers.close()
