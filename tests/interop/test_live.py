"""Other people's verifiers read the log of a running service, and what an auditor copied of it."""

from __future__ import annotations

import base64
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pymerkle
import pytest
from credproof.log.proof import TlogProof, format_proof
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import verify_checkpoint
from sigstore._internal.trust import Keyring
from sigstore.errors import VerificationError
from sigstore.models import TransparencyLogEntry
from sigstore_models.common.v1 import PublicKey, PublicKeyDetails
from sigstore_models.rekor.v1 import TransparencyLogEntry as Inner

from tests.interop.test_go_note import verifier
from tests.rpc.conftest import running
from tests.world import GOOD

__all__ = ["running", "verifier"]
PROOFBUNDLE = Path(sys.executable).with_name("proofbundle")


@dataclass(frozen=True)
class Copy:
    """The log as an auditor has it: a folder, its entries, and proofs of some of them."""

    folder: Path
    vkey: str
    lines: tuple[bytes, ...]
    proofs: tuple[TlogProof, ...]
    root: bytes


@pytest.fixture(scope="module")
def copy(running, tmp_path_factory) -> Copy:
    with running.world.lender() as lender:
        subject_id, consent, _ = running.consented(lender, GOOD)
        lender.ask(lender.subject(subject_id), policy_id="revolving-standing", consent=consent)
    folder = tmp_path_factory.mktemp("copy")
    with running.world.auditor() as auditor:
        checkpoint = auditor.export(folder).checkpoint
        size = checkpoint.tree_size
        some = [*range(0, size, max(1, size // 50)), size - 1]
        proofs = [TlogProof(i, auditor.inclusion(i, size), checkpoint.note) for i in some]
        lines = tuple(auditor.lines(0, size))
        vkey = auditor.trust.bundle.log_vkey
    return Copy(folder, vkey, lines, tuple(proofs), checkpoint.root_hash)


def test_go_reads_the_copy_and_finds_every_entry_in_the_signed_tree(copy, verifier):
    command = [verifier, copy.folder, copy.vkey]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    assert told.strip() == "accepted"


def test_pymerkle_makes_the_signed_root_of_the_entries(copy):
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for line in copy.lines:
        tree.append_entry(line)
    assert tree.get_root() == copy.root


def test_proofbundle_accepts_the_proof_of_the_newest_entry(copy, tmp_path):
    (tmp_path / "entry").write_bytes(copy.lines[-1])
    (tmp_path / "entry.tlog-proof").write_bytes(format_proof(copy.proofs[-1]))
    command = [PROOFBUNDLE, "verify-proof", "--payload-file", tmp_path / "entry"]
    command += ["--log-vkey", copy.vkey, "--expected-origin", copy.vkey.split("+")[0]]
    done = subprocess.run(
        [*command, tmp_path / "entry.tlog-proof"], capture_output=True, check=False
    )
    assert done.returncode == 0


# -- sigstore


def require_sigstore(copy: Copy, line: bytes, proof: TlogProof, root: bytes) -> None:
    """Have sigstore verify an entry as one of Rekor's: its place in the tree, the signed root."""
    name, key_id, key = copy.vkey.split("+", 2)
    assert name
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    trusted = PublicKey(raw_bytes=base64.b64encode(der), key_details=PublicKeyDetails.PKIX_ED25519)
    shown = {
        "checkpoint": {"envelope": proof.checkpoint.decode()},
        "hashes": [base64.b64encode(each) for each in proof.hashes],
        "log_index": str(proof.index),
        "root_hash": base64.b64encode(root),
        "tree_size": str(len(copy.lines)),
    }
    entry = TransparencyLogEntry(
        Inner.model_validate(
            {
                "canonicalized_body": base64.b64encode(line),
                "inclusion_proof": shown,
                "kind_version": {"kind": "credproof", "version": "1"},
                "log_id": {"key_id": base64.b64encode(bytes.fromhex(key_id))},
                "log_index": str(proof.index),
            }
        )
    )
    verify_merkle_inclusion(entry)
    verify_checkpoint(Keyring([trusted]), entry)


def test_sigstore_accepts_entries_under_the_signed_checkpoint(copy):
    for proof in copy.proofs:
        require_sigstore(copy, copy.lines[proof.index], proof, copy.root)


@pytest.mark.parametrize(
    "bend",
    [
        lambda line, proof, root: (line + b" ", proof, root),
        lambda line, proof, root: (line, replace(proof, hashes=proof.hashes[:-1]), root),
        lambda line, proof, root: (line, replace(proof, index=proof.index + 1), root),
        lambda line, proof, root: (line, proof, bytes(32)),
        lambda line, proof, root: (
            line,
            replace(proof, checkpoint=proof.checkpoint.replace(b"/log\n", b"/lag\n", 1)),
            root,
        ),
    ],
)
def test_sigstore_refuses_what_is_bent(copy, bend):
    proof = copy.proofs[3]
    with pytest.raises(VerificationError):
        require_sigstore(copy, *bend(copy.lines[proof.index], proof, copy.root))
