"""`proofbundle`, an independent tlog-proof verifier, accepts our proofs and refuses bent ones."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from credproof.log.proof import TlogProof, format_proof

from tests.interop.sample import ENTRIES, sample_log

TOOL = Path(sys.executable).with_name("proofbundle")
INDEX = 7
LOG = sample_log()
PROOF = TlogProof(INDEX, LOG.tree.inclusion_proof(INDEX, ENTRIES), LOG.checkpoint())


def verify(folder: Path, entry: bytes, proof: TlogProof, origin: str = LOG.signer.name) -> int:
    """The exit code of the tool: 0 when it accepts."""
    (folder / "entry").write_bytes(entry)
    (folder / "entry.tlog-proof").write_bytes(format_proof(proof))
    key = str(LOG.signer.verifier_key)
    command = [TOOL, "verify-proof", "--payload-file", folder / "entry", "--log-vkey", key]
    command += ["--expected-origin", origin, folder / "entry.tlog-proof"]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_our_proof_is_accepted(tmp_path):
    assert verify(tmp_path, LOG.lines[INDEX], PROOF) == 0


@pytest.mark.parametrize(
    ("entry", "proof"),
    [
        (LOG.lines[INDEX] + b" ", PROOF),
        (LOG.lines[INDEX + 1], PROOF),
        (LOG.lines[INDEX], replace(PROOF, index=INDEX + 1)),
        (LOG.lines[INDEX], replace(PROOF, hashes=PROOF.hashes[:-1])),
        (LOG.lines[INDEX], replace(PROOF, hashes=(bytes(32), *PROOF.hashes[1:]))),
        (LOG.lines[INDEX], replace(PROOF, checkpoint=PROOF.checkpoint.replace(b"23", b"24", 1))),
    ],
)
def test_a_tampered_proof_is_refused(tmp_path, entry, proof):
    assert verify(tmp_path, entry, proof) != 0


def test_a_proof_of_another_log_is_refused(tmp_path):
    assert verify(tmp_path, LOG.lines[INDEX], PROOF, origin="other.example/log") != 0
