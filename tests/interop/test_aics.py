"""`aics-witness` and `aics-tlog`, other people's witness and verifier, work on our log.

They need Python 3.12 and an environment of their own, made once per session where that can be had.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from credproof import standard
from credproof.log.checkpoint import verify_checkpoint
from credproof.log.cosignature import CosignerKey, cosigned
from credproof.log.merkle import leaf_hash
from credproof.log.proof import TlogProof, format_proof
from credproof.mirror import Mirror
from credproof_server import quorums, setup, standing
from credproof_server.directory import ServiceDirectory
from credproof_server.service.core import Core
from credproof_server.storage import repository

PACKAGES = ("aics-witness==0.1.0", "aics-tlog==0.2.1")
PROOFBUNDLE = Path(sys.executable).with_name("proofbundle")
INSTALL_S, START_S = 180, 20


def python() -> str | None:
    """An interpreter that is new enough: ours, one on PATH, or one of pyenv's."""
    pyenv = Path.home() / ".pyenv" / "versions"
    found = [shutil.which("python3.12"), shutil.which("python3.13")]
    found += [str(path) for path in sorted(pyenv.glob("3.1[2-9].*/bin/python"))]
    code = "import sys, venv; sys.exit(sys.version_info < (3, 12))"
    for name in [sys.executable, *filter(None, found)]:
        if subprocess.run([name, "-c", code], capture_output=True, check=False).returncode == 0:
            return name
    return None


@pytest.fixture(scope="session")
def tools(tmp_path_factory) -> Path:
    """The folder with both programs."""
    interpreter = python()
    if interpreter is None:
        pytest.skip("no Python 3.12: aics-witness and aics-tlog need it")
    folder = tmp_path_factory.mktemp("aics")
    command = [interpreter, "-m", "venv", "--without-pip", folder]
    subprocess.run(command, check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    pip += ["-q", "--no-input", "--disable-pip-version-check"]
    try:
        subprocess.run([*pip, *PACKAGES], check=True, capture_output=True, timeout=INSTALL_S)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"pip cannot install {' and '.join(PACKAGES)} here")
    return folder / "bin"


@dataclass
class Scene:
    """A log whose only witness is theirs, and the newest checkpoint that it has cosigned."""

    tools: Path
    folder: Path
    service: Path
    vkey: str

    def tool(self, name: str, *words: object) -> subprocess.CompletedProcess[str]:
        command = [self.tools / name, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def publish(self) -> bytes:
        with closing(self.open()) as core:
            core.published.publish()
            assert core.published.head is not None
            return core.published.head.note

    def open(self) -> Core:
        return ServiceDirectory(self.service).open_core()

    def mirror(self) -> Path:
        """Our log as static files."""
        folder, key = self.folder / "tiles", ServiceDirectory(self.service).log_signer()
        note = self.publish()
        shutil.rmtree(folder, ignore_errors=True)
        mirror = Mirror(folder, key.verifier_key)
        with closing(self.open()) as core, core.engine.connect() as connection:
            mirror.add(repository.lines(connection, 0, core.sequencer.head.tree_size))
        mirror.finish(verify_checkpoint(note, key.name, [key.verifier_key]))
        return folder


@pytest.fixture(scope="module")
def scene(tools, tmp_path_factory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("log")
    listen = {"participants_listen": "127.0.0.1:0", "borrowers_listen": "127.0.0.1:0"}
    setup.init(folder / "service", domain="interop.example", **listen)
    made = Scene(tools, folder, folder / "service", "")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "witness.json"
    told = made.tool(
        "aics-witness", "init", "-c", config, "--name", "w.example/w1", "--listen", address
    )
    made.vkey = next(word for word in told.stdout.split() if word.startswith("w.example/w1+"))
    log = ServiceDirectory(made.service).log_signer().verifier_key
    made.tool("aics-witness", "add-log", "-c", config, "--origin", log.name, "--vkey", log)
    serving = subprocess.Popen(
        [tools / "aics-witness", "serve", "-c", config],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_listening(address)
        text = f"log {log}\nwitness theirs {made.vkey} http://{address}\nquorum theirs\n"
        quorums.set_quorum(made.service, text.encode())
        yield made
    finally:
        serving.terminate()
        serving.wait(20)


def await_listening(address: str) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert time.monotonic() < deadline, "aics-witness did not start"
            time.sleep(0.1)
        else:
            return


def test_their_witness_cosigns_our_log_as_it_grows(scene):
    key, sizes = CosignerKey.parse(scene.vkey), []
    for _ in range(2):
        note = scene.publish()
        assert set(cosigned(note, [key])) == {key}
        sizes.append(int(note.split(b"\n")[1]))
        standing.set_template(scene.service, standard.purposes()[0])
    assert sizes == [sizes[0], sizes[0] + 1]


def test_their_verifier_accepts_our_checkpoint_tiles_and_witness(scene):
    tiles = scene.mirror()
    log = ServiceDirectory(scene.service).log_signer().verifier_key
    words = ["verify-checkpoint", "--log-key", log, "--tiles", tiles, "--origin", log.name]
    words += ["--witness-key", scene.vkey, "--quorum", 1]
    done = scene.tool("aics-tlog", *words)
    assert done.returncode == 0, done.stderr
    lone = (tiles / "checkpoint").read_text().splitlines(keepends=True)
    (tiles / "checkpoint").write_text("".join(line for line in lone if "w.example" not in line))
    assert scene.tool("aics-tlog", *words).returncode != 0


def test_proofbundle_accepts_our_proof_with_their_cosignature(scene, tmp_path):
    note = scene.publish()
    size = int(note.split(b"\n")[1])
    with closing(scene.open()) as core, core.engine.connect() as connection:
        line = repository.lines(connection, 0, 1)[0]
        proof = core.sequencer.state.tree.inclusion_proof(0, size)
        assert core.sequencer.state.tree.root(1) == leaf_hash(line)
        log = core.trust.log_key
    (tmp_path / "entry").write_bytes(line)

    def accepts(checkpoint: bytes) -> bool:
        (tmp_path / "p").write_bytes(format_proof(TlogProof(0, proof, checkpoint)))
        command = [PROOFBUNDLE, "verify-proof", "--payload-file", tmp_path / "entry"]
        command += ["--log-vkey", str(log), "--expected-origin", log.name]
        command += ["--witness-vkey", scene.vkey, "--threshold", "1", tmp_path / "p"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert accepts(note)
    assert not accepts(b"".join(n for n in note.splitlines(True) if b"w.example" not in n))
