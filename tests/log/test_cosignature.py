"""Cosignatures, quorums, and what a witness decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.encoding import b64
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.base.limits import QUORUM_FILE_BYTES_MAX, QUORUM_RECORDS_MAX
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.cosignature import (
    CosignerKey,
    Ed25519Cosigner,
    MlDsaCosigner,
    cosigned,
    with_lines,
)
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner, VerifierKey, parse_note, sign_note
from credproof.log.quorum import NOBODY, parse_quorum
from credproof.log.witness import STATUS, AddCheckpoint, Seen, judge, parse_add_checkpoint

from tests.log.test_checkpoint import VKEY as TESSERA_VKEY
from tests.log.test_tiles import VECTORS

CHECKPOINT_15 = (VECTORS / "checkpoint.15").read_bytes()
ORIGIN = "log.example/credit"
LOG = NoteSigner(ORIGIN, Ed25519Signer(bytes(range(32))))
OTHER_LOG = NoteSigner("log.example/other", Ed25519Signer(bytes([9] * 32)))
LOGS = {key.name: [key.verifier_key] for key in (LOG, OTHER_LOG)}
TIME = 1_795_000_000
TREE = Tree()
TREE.extend([leaf_hash(bytes([i])) for i in range(41)])
COSIGNERS = [
    Ed25519Cosigner("witness.example/one", bytes([1] * 32)),
    MlDsaCosigner("witness.example/two", bytes([2] * 32)),
]

OTHERS_VKEY = "w.example/w1+67ffa306+BDYfCqGVYbdyFS2Qb/zhwRHUq9AEulVVLsa1am9vIGKx"
OTHERS_LINE = (
    "\N{EM DASH} w.example/w1 Z/+jBgAAAABrBGlDjsZqYQPov7FMkt30ujnDm/7ZH8zIH+/H+M4hZw2DIw2vHpkkFSiy"
    "igbaoyfePTIEBWxJHewBj/wYhMmzvXDYDg==\n"
)
"""Made by the program aics-witness over the last checkpoint of the tessera test log."""


def note(size: int = 7, signer: NoteSigner = LOG, root: bytes | None = None) -> bytes:
    return sign_checkpoint(Checkpoint(signer.name, size, root or TREE.root(size)), [signer])


def text(size: int = 7) -> str:
    return parse_note(note(size)).text


def reason(call, *arguments) -> str:
    with pytest.raises(CredproofError) as error:
        call(*arguments)
    return error.value.reason


# -- cosignatures


def test_a_cosignature_by_another_program_verifies():
    key = CosignerKey.parse(OTHERS_VKEY)
    assert str(key) == OTHERS_VKEY
    assert cosigned(with_lines(CHECKPOINT_15, [OTHERS_LINE]), [key]) == {key: 1_795_451_203}


def test_the_key_id_of_the_specification_is_that_of_its_example():
    assert CosignerKey.parse(OTHERS_VKEY).key_id.hex() == "67ffa306"


@pytest.mark.parametrize("cosigner", COSIGNERS, ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_verifies_and_tells_its_time(cosigner):
    assert CosignerKey.parse(str(cosigner.key)) == cosigner.key
    whole = with_lines(note(), [cosigner.cosign(text(), TIME)])
    assert cosigned(whole, [cosigner.key]) == {cosigner.key: TIME}
    assert with_lines(whole, [whole.decode().splitlines(keepends=True)[-1]]) == whole


@pytest.mark.parametrize("cosigner", COSIGNERS, ids=["ed25519", "ml-dsa-44"])
def test_a_cosignature_is_of_one_checkpoint_by_one_key_at_one_time(cosigner):
    line = cosigner.cosign(text(7), TIME)
    assert reason(cosigned, with_lines(note(8), [line]), [cosigner.key]) == "BAD_SIGNATURE"
    other_log = with_lines(note(7, OTHER_LOG), [line])
    assert reason(cosigned, other_log, [cosigner.key]) == "BAD_SIGNATURE"
    later = _with_time(line, cosigner.key, TIME + 1)
    assert reason(cosigned, with_lines(note(7), [later]), [cosigner.key]) == "BAD_SIGNATURE"
    for time in (0, 2**63, 2**64 - 1):
        never = _with_time(line, cosigner.key, time)
        assert reason(cosigned, with_lines(note(7), [never]), [cosigner.key]) == "BAD_SIGNATURE"


def _with_time(line: str, key: CosignerKey, time: int) -> str:
    signature = parse_note(note() + line.encode()).signatures[-1].signature
    return f"\N{EM DASH} {key.name} {b64(key.key_id + time.to_bytes(8, 'big') + signature[8:])}\n"


def test_a_cosignature_by_an_unknown_key_is_passed_over():
    whole = with_lines(note(), [cosigner.cosign(text(), TIME) for cosigner in COSIGNERS])
    assert cosigned(whole, []) == {}
    assert list(cosigned(whole, [COSIGNERS[1].key])) == [COSIGNERS[1].key]
    renamed = replace(COSIGNERS[0].key, name="witness.example/three")
    assert cosigned(whole, [renamed]) == {}


def test_the_name_of_an_ml_dsa_cosigner_is_signed():
    """So that another's signature cannot be passed off under a name of its own."""
    line = COSIGNERS[1].cosign(text(), TIME)
    thief = replace(COSIGNERS[1].key, name="witness.example/thief")
    signature = parse_note(note() + line.encode()).signatures[-1].signature
    stolen = f"\N{EM DASH} {thief.name} {b64(thief.key_id + signature)}\n"
    assert reason(cosigned, with_lines(note(), [stolen]), [thief]) == "BAD_SIGNATURE"


def test_a_key_that_cosigned_twice_is_refused():
    lines = [COSIGNERS[0].cosign(text(), TIME + i) for i in range(2)]
    assert reason(cosigned, with_lines(note(), lines), [COSIGNERS[0].key]) == "BAD_NOTE"


def test_a_cosignature_that_is_cut_or_longer_is_refused():
    for cosigner in COSIGNERS:
        line = cosigner.cosign(text(), TIME)
        data = parse_note(note() + line.encode()).signatures[-1].signature
        for bad in (data[:-1], data + b"\0", data[:8]):
            bent = f"\N{EM DASH} {cosigner.key.name} {b64(cosigner.key.key_id + bad)}\n"
            assert reason(cosigned, with_lines(note(), [bent]), [cosigner.key]) == "BAD_SIGNATURE"


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        TESSERA_VKEY,
        OTHERS_VKEY.replace("67ffa306", "67ffa307"),
        OTHERS_VKEY.replace("w.example", "v.example"),
        OTHERS_VKEY[:-4],
        "name+00000000+BAAA",
    ],
)
def test_what_is_no_key_of_a_cosigner_is_refused(vkey):
    assert reason(CosignerKey.parse, vkey) == "BAD_VKEY"


def test_a_log_with_extension_lines_can_be_cosigned():
    extended = sign_note(text() + "extension line\n", [LOG])
    for cosigner in COSIGNERS:
        line = cosigner.cosign(parse_note(extended).text, TIME)
        assert cosigned(with_lines(extended, [line]), [cosigner.key]) == {cosigner.key: TIME}


# -- quorums

W = [Ed25519Cosigner(f"w.example/{i}", bytes([i + 1] * 32)).key for i in range(4)]
TWO_GROUPS = f"""\
# two organisations
log {LOG.verifier_key} https://log.example/
witness X1 {W[0]} https://x1.example/
witness X2 {W[1]}
  group X any X1 X2
\twitness Y1 {W[2]}
witness Y2 {W[3]}
group Y all Y1 Y2

group both 2 X Y
quorum both
""".encode()


def test_a_quorum_of_groups_wants_each_of_them():
    quorum = parse_quorum(TWO_GROUPS)
    assert quorum.logs == (LOG.verifier_key,)
    assert quorum.witnesses["X1"].url == "https://x1.example/"
    assert quorum.is_reached(W)
    assert quorum.is_reached([W[1], W[2], W[3]])
    for few in ([], W[:2], W[2:], [W[0], W[2]], [W[0], W[1], W[3]]):
        assert not quorum.is_reached(few)


def test_a_quorum_of_none_wants_nobody():
    assert parse_quorum(b"quorum none\n").is_reached([])
    assert NOBODY.is_reached([])


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "quorum X1",
        "quorum none\nquorum none",
        "quorum",
        f"witness X1 {W[0]}\nwitness X1 {W[1]}\nquorum X1",
        f"witness X1 {W[0]}\nwitness X2 {W[0]}\nquorum X1",
        f"witness none {W[0]}\nquorum none",
        f"witness X1 {W[0]}\ngroup X1 any X1\nquorum X1",
        f"witness X1 {W[0]}\ngroup G any X1 X1\nquorum G",
        f"witness X1 {W[0]}\ngroup G any X1\ngroup H any X1\nquorum G",
        f"witness X1 {W[0]}\ngroup G 2 X1\nquorum G",
        f"witness X1 {W[0]}\ngroup G 0 X1\nquorum G",
        f"witness X1 {W[0]}\ngroup G 01 X1\nquorum G",
        f"witness X1 {W[0]}\ngroup G most X1\nquorum G",
        f"witness X1 {W[0]}\ngroup G any\nquorum G",
        f"witness X1 {W[0]}\ngroup G any none\nquorum G",
        f"group G any X1\nwitness X1 {W[0]}\nquorum G",
        f"quorum X1\nwitness X1 {W[0]}",
        f"log {LOG.verifier_key}\nlog {LOG.verifier_key}\nquorum none",
        f"witness X1 {W[0]} https://a https://b\nquorum X1",
        "unknown line\nquorum none",
        "quorum none\r",
        "quorum\x0bnone",
    ],
)
def test_a_quorum_file_that_says_nothing_or_two_things_is_refused(lines):
    assert reason(parse_quorum, f"{lines}\n".encode()) == "BAD_QUORUM"


def test_a_witness_with_a_key_of_a_log_is_refused_and_the_line_named():
    with pytest.raises(CredproofError) as error:
        parse_quorum(f"# a comment\nwitness X1 {LOG.verifier_key}\nquorum X1\n".encode())
    assert (error.value.reason, error.value.message[:7]) == ("BAD_VKEY", "line 2:")


def test_a_quorum_file_has_its_limits():
    keys = [Ed25519Cosigner(f"w.example/{i}", i.to_bytes(32, "big")).key for i in range(129)]
    lines = [f"witness w{i} {key}\n" for i, key in enumerate(keys)]
    parse_quorum(("".join(lines[:QUORUM_RECORDS_MAX]) + "quorum w0\n").encode())
    over = ("".join(lines[: QUORUM_RECORDS_MAX + 1]) + "quorum w0\n").encode()
    assert reason(parse_quorum, over) == "LIMIT_EXCEEDED"
    longest = b"quorum none\n".ljust(QUORUM_FILE_BYTES_MAX, b"\n")
    parse_quorum(longest)
    assert reason(parse_quorum, longest + b"\n") == "LIMIT_EXCEEDED"


# -- what a witness decides


def asked(old: int, size: int, **changes) -> AddCheckpoint:
    request = AddCheckpoint(old, TREE.consistency_proof(old, size), note(size))
    return replace(request, **changes)


def seen(size: int) -> dict[str, Seen]:
    return {ORIGIN: Seen(size, TREE.root(size))}


@pytest.mark.parametrize("size", range(41))
def test_a_request_is_read_as_it_was_written_and_cosigned_when_consistent(size):
    for old in range(size + 1):
        request = asked(old, size)
        assert parse_add_checkpoint(request.to_bytes()) == request
        assert judge(request, LOGS, seen(old)).tree_size == size


def test_whoever_was_never_asked_begins_at_zero():
    assert judge(asked(0, 7), LOGS, {}).root_hash == TREE.root(7)


@pytest.mark.parametrize(
    ("request_", "before", "expected"),
    [
        (asked(0, 7, note=note(7, NoteSigner("nobody.example", LOG.signer))), {}, "UNKNOWN_LOG"),
        (asked(0, 7, note=note(7, NoteSigner(ORIGIN, OTHER_LOG.signer))), {}, "NO_KNOWN_SIGNATURE"),
        (asked(0, 7, note=note(7).replace(b"\n7\n", b"\n8\n")), {}, "BAD_SIGNATURE"),
        (asked(3, 7, old_size=8, proof=()), seen(8), "BAD_WITNESS_REQUEST"),
        (asked(3, 7), seen(5), "OTHER_SIZE"),
        (asked(3, 7), {}, "OTHER_SIZE"),
        (asked(3, 7, proof=()), seen(3), "BAD_CONSISTENCY_PROOF"),
        (asked(0, 7, proof=(bytes(32),)), {}, "BAD_CONSISTENCY_PROOF"),
        (asked(3, 7, note=note(7, root=bytes(32))), seen(3), "BAD_CONSISTENCY_PROOF"),
        (asked(7, 7, note=note(7, root=bytes(32))), seen(7), "BAD_CONSISTENCY_PROOF"),
        (asked(0, 0, note=note(0, root=bytes([1] * 32))), {}, "BAD_CONSISTENCY_PROOF"),
    ],
)
def test_what_a_witness_must_not_cosign(request_, before, expected):
    assert reason(judge, request_, LOGS, before) == expected


def test_every_status_of_the_protocol_is_told_by_its_reason():
    assert set(STATUS.values()) == {403, 404, 409, 422}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 3",
        b"old 03\n\n" + note(),
        b"old -1\n\n" + note(),
        b"old 3 \n\n" + note(),
        b"OLD 3\n\n" + note(),
        b"old 3\nAAAA\n\n" + note(),
        b"old 3\n" + b64(bytes(32)).encode() + b"=\n\n" + note(),
        b"old 3\n" + (b64(bytes(32)).encode() + b"\n") * 64 + b"\n" + note(),
        "old ٣\n\n".encode() + note(),
    ],
)
def test_a_request_in_any_other_spelling_is_refused(body):
    with pytest.raises(CredproofError):
        parse_add_checkpoint(body)


def test_a_request_that_is_too_long_is_refused():
    assert reason(parse_add_checkpoint, b"old 3\n\n" + bytes(140_000)) == "LIMIT_EXCEEDED"


def test_vkeys_of_logs_and_of_cosigners_are_told_apart():
    for parse, vkey in ((VerifierKey.parse, str(W[0])), (CosignerKey.parse, str(LOG.verifier_key))):
        assert reason(parse, vkey) == "BAD_VKEY"
