"""Go's own note and tlog (golang.org/x/mod) accept our log, and refuse a tampered one."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.sample import ENTRIES, sample_log
from tests.mirror.test_mirror import KEY, copied

SOURCE = Path(__file__).parent / "go" / "main.go"
GO = Path(sys.executable).with_name("go")
QUICKLY = ("-gcflags=all=-N -l", "-ldflags=-s -w")
"""To build takes longer than to run: nothing is optimised."""
MODULE = """\
module verifier

go 1.22

require golang.org/x/mod v0.0.0

replace golang.org/x/mod => ./xmod
"""


@pytest.fixture(scope="session")
def verifier(tmp_path_factory) -> Path:
    """The verifier, built once for all processes that test, with what Go itself carries."""
    temporary = tmp_path_factory.getbasetemp()
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary
    folder = shared / "go-verifier"
    folder.mkdir(exist_ok=True)
    built = folder / "verifier"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _build(folder, built)
    return built


def _build(folder: Path, built: Path) -> None:
    environment = {
        **os.environ,
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    root = subprocess.run(
        [GO, "env", "GOROOT"], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()
    vendored = Path(root) / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod" / "sumdb"
    for name in ("note", "tlog"):
        shutil.copytree(vendored / name, folder / "xmod" / "sumdb" / name)
    (folder / "xmod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.22\n")
    (folder / "go.mod").write_text(MODULE)
    shutil.copy(SOURCE, folder / "main.go")
    command = [GO, "build", *QUICKLY, "-o", built, "."]
    subprocess.run(command, cwd=folder, check=True, env=environment)


def told(data: object) -> object:
    """JSON in which bytes are base64, as Go reads them."""
    if isinstance(data, bytes):
        return base64.b64encode(data).decode()
    if isinstance(data, tuple | list):
        return [told(item) for item in data]
    return data


def document() -> dict:
    log = sample_log()
    tree = log.tree
    return {
        "vkey": str(log.signer.verifier_key),
        "note": log.checkpoint().decode(),
        "entries": list(log.lines),
        "inclusion": [tree.inclusion_proof(i, ENTRIES) for i in range(ENTRIES)],
        "consistency": [tree.consistency_proof(n, ENTRIES) for n in range(1, ENTRIES + 1)],
        "roots": [tree.root(n) for n in range(1, ENTRIES + 1)],
    }


def verdict(verifier: Path, data: dict) -> str:
    text = json.dumps({name: told(value) for name, value in data.items()})
    done = subprocess.run([verifier], input=text, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def test_go_accepts_our_note_root_and_every_proof(verifier):
    assert verdict(verifier, document()) == "accepted"


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda d: d["entries"].__setitem__(5, flipped(d["entries"][5])),
        lambda d: d["entries"].pop(),
        lambda d: d["entries"].reverse(),
        lambda d: d.update(note=d["note"].replace("23", "22", 1)),
        lambda d: d.update(note=d["note"].replace("world.example", "other.example", 1)),
        lambda d: d["inclusion"].__setitem__(3, d["inclusion"][4]),
        lambda d: d["consistency"].__setitem__(3, d["consistency"][4]),
        lambda d: d["roots"].__setitem__(9, flipped(d["roots"][9])),
    ],
)
def test_go_refuses_a_tampered_log(verifier, tamper):
    data = document()
    tamper(data)
    assert verdict(verifier, data).startswith("refused")


# -- static files


def of_folder(verifier: Path, folder: Path) -> str:
    command = [verifier, folder, str(KEY)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@pytest.mark.parametrize("sizes", [(1,), (255,), (256,), (600,), (100, 257, 600)])
def test_go_reads_our_static_files_and_finds_every_entry_in_the_signed_tree(
    verifier, tmp_path, sizes
):
    copied(tmp_path, *sizes)
    assert of_folder(verifier, tmp_path) == "accepted"


@pytest.mark.parametrize(
    "path",
    ["checkpoint", "tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001"],
)
def test_go_refuses_static_files_with_one_altered_byte(verifier, tmp_path, path):
    copied(tmp_path, 600)
    data = bytearray((tmp_path / path).read_bytes())
    data[20] ^= 1
    (tmp_path / path).write_bytes(data)
    assert of_folder(verifier, tmp_path).startswith("refused")
