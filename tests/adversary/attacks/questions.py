"""Questions that no consent permits, pseudonyms under wrong keys, and places that no log has."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from credproof.base.group import multiply_base, scalar_from
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1 import pseudonym_service_pb2 as pseudonym_pb
from credproof.v1 import verification_service_pb2 as pb
from credproof.verification.consent import verify_consent

from tests.adversary.attack import Attack
from tests.adversary.attacks.batches import UNKNOWN_FIELD
from tests.adversary.stage import AUDITOR, LENDER, PROVIDER, Stage

ASK = "VerificationService/Ask"
BAD = "INVALID_ARGUMENT"
DENIED = ("PERMISSION_DENIED", "NOT_PERMITTED")
SIZES = {
    "request_id": 16,
    **dict.fromkeys(("nonce", "sub", "consent_id", "case_digest", "staff_digest"), 32),
}
Change = Any | Callable[[Stage], Any]


def question(stage: Stage, name: str = "ann", **changes: Change) -> pb.AskRequest:
    """A question about this borrower under the borrower's own consent, then changed."""
    consent = verify_consent(stage.consents[name])
    ref = consent.terms.policies[0]
    policy = {"id": ref.id, "version": ref.version, "digest": ref.digest}
    policy |= {key: changes.pop(key) for key in list(changes) if key in policy}
    start = {
        "request_id": os.urandom(16),
        "nonce": os.urandom(32),
        "sub": consent.terms.sub,
        "consent_id": consent.id,
        "case_digest": bytes(32),
        "staff_digest": bytes(32),
    }
    given = {key: v(stage) if callable(v) else v for key, v in changes.items()}
    return pb.AskRequest(policy=pb.PolicyReference(**policy), **{**start, **given})


def ask(
    name: str,
    code: str,
    reason: str,
    *,
    who: str = LENDER,
    says: str = "",
    of: str = "ann",
    **changes: Change,
) -> Attack:
    def send(stage: Stage) -> bytes:
        return stage.send(who, ASK, question(stage, of, **changes))

    return Attack(name, send, code, reason, None, says)


def _lapsed(stage: Stage) -> bytes:
    """Dan's consent was granted for three seconds, which are over."""
    end = verify_consent(stage.consents["dan"]).terms.expires_at
    time.sleep(max(0.0, end + 1.1 - time.time()))
    return stage.send(LENDER, ASK, question(stage, "dan"))


def sub_of(name: str) -> Callable[[Stage], bytes]:
    return lambda stage: bytes(stage.subjects[name].sub)


QUESTIONS = [
    ask("a question under no consent", *DENIED, consent_id=bytes(32)),
    ask("a question under another borrower's consent", *DENIED, sub=sub_of("bob")),
    ask("a question about somebody unknown", *DENIED, sub=bytes(32)),
    ask("a question under another lender's consent", *DENIED, who="south-lender"),
    ask("a question under a policy of another version", *DENIED, version=2),
    ask("a question under a policy of version -1", *DENIED, version=-1),
    ask("a question under a policy of another digest", *DENIED, digest=bytes(32)),
    ask("a question under an unknown policy", *DENIED, id="another"),
    ask("a question under a policy without a name", *DENIED, id=""),
    Attack("a question under a lapsed consent", _lapsed, "PERMISSION_DENIED", "CONSENT_EXPIRED"),
    ask("a question under a used consent", "PERMISSION_DENIED", "CONSENT_USED_UP", of="bob"),
    ask("a question under a revoked consent", "PERMISSION_DENIED", "CONSENT_REVOKED", of="cid"),
    ask(
        "a request id used for another question",
        *("ALREADY_EXISTS", "REQUEST_ID_REUSED"),
        of="bob again",
        request_id=lambda s: s.used,
    ),
    Attack("an empty question", lambda s: s.send(LENDER, ASK, b""), BAD, "WRONG_LENGTH"),
    Attack("half a question", lambda s: s.send(LENDER, ASK, b"\x0a\x10x"), BAD, "NOT_A_MESSAGE"),
    *(
        ask(f"a {name} one byte short", BAD, "WRONG_LENGTH", says=name, **{name: bytes(size - 1)})
        for name, size in SIZES.items()
    ),
    *(
        ask(
            f"a {name} one byte long",
            BAD,
            "LIMIT_EXCEEDED",
            says=f".{name}",
            **{name: bytes(size + 1)},
        )
        for name, size in SIZES.items()
    ),
    ask("a policy's id of 64 letters", BAD, "LIMIT_EXCEEDED", says=".id", id="a" * 64),
    ask("a policy's digest of 33 bytes", BAD, "LIMIT_EXCEEDED", says=".digest", digest=bytes(33)),
    Attack(
        "a question with an unknown field",
        lambda s: s.send(
            LENDER, ASK, question(s, consent_id=bytes(32)).SerializeToString() + UNKNOWN_FIELD
        ),
        *(BAD, "NOT_A_MESSAGE"),
    ),
]

P = 2**255 - 19
ELEMENTS = {
    "the identity": bytes(32),
    "a field element that is not reduced": P.to_bytes(32, "little"),
    "a field element plus the prime": (P + 2).to_bytes(32, "little"),
    "a negative field element": (P - 1).to_bytes(32, "little"),
    "all bits": b"\xff" * 32,
    "one": (1).to_bytes(32, "little"),
    "a point that is not of the group": bytes.fromhex(
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371"
    ),
    "31 bytes": bytes(31),
    "nothing": b"",
}
GOOD_ELEMENT = multiply_base(scalar_from(b"\x05" * 64))


def evaluate(stage: Stage, elements: list[bytes], **changes: Any) -> bytes:
    key_id = stage.trust.oprf_key.id
    asked = {"key_id": key_id, "blinded_elements": elements, **changes}
    return stage.send(
        PROVIDER,
        "PseudonymService/EvaluatePseudonyms",
        pseudonym_pb.EvaluatePseudonymsRequest(**asked),
    )


def blinded(name: str, reason: str, says: str, *elements: bytes) -> Attack:
    return Attack(name, lambda s: evaluate(s, list(elements)), BAD, reason, None, says)


def under(name: str, code: str, reason: str, key_id: str) -> Attack:
    return Attack(name, lambda s: evaluate(s, [GOOD_ELEMENT], key_id=key_id), code, reason)


PSEUDONYMS = [
    *(
        blinded(f"an element that is {name}", "BAD_ELEMENT", "", element)
        for name, element in ELEMENTS.items()
    ),
    blinded(
        "a bad element after 100 good ones", "BAD_ELEMENT", "", *[GOOD_ELEMENT] * 100, bytes(32)
    ),
    blinded("no elements", "EMPTY_BATCH", ""),
    blinded("129 elements", "LIMIT_EXCEEDED", ".blinded_elements", *[GOOD_ELEMENT] * 129),
    blinded("100,000 empty elements", "LIMIT_EXCEEDED", ".blinded_elements", *[b""] * 100_000),
    blinded("an element of 33 bytes", "LIMIT_EXCEEDED", ".blinded_elements", bytes(33)),
    under("another service's pseudonym key", "FAILED_PRECONDITION", "OTHER_OPRF_KEY", "0" * 32),
    under("no pseudonym key", "FAILED_PRECONDITION", "OTHER_OPRF_KEY", ""),
    under("a key id of 33 letters", BAD, "LIMIT_EXCEEDED", "0" * 33),
    Attack(
        "an empty request for pseudonyms",
        lambda s: s.send(PROVIDER, "PseudonymService/EvaluatePseudonyms", b""),
        *("FAILED_PRECONDITION", "OTHER_OPRF_KEY"),
    ),
]
LAST = 2**63 - 1


def entries(name: str, start: int, limit: int) -> Attack:
    request = audit_pb.ListEntriesRequest(start_index=start, limit=limit)
    return Attack(
        name, lambda s: s.send(AUDITOR, "AuditService/ListEntries", request), BAD, "BAD_RANGE"
    )


def included(name: str, reason: str, index: int, size: int) -> Attack:
    request = audit_pb.GetInclusionProofRequest(log_index=index, tree_size=size)
    method = "AuditService/GetInclusionProof"
    return Attack(name, lambda s: s.send(AUDITOR, method, request), BAD, reason)


def consistent(name: str, old: int, new: int) -> Attack:
    request = audit_pb.GetConsistencyProofRequest(old_tree_size=old, new_tree_size=new)
    method = "AuditService/GetConsistencyProof"
    return Attack(name, lambda s: s.send(AUDITOR, method, request), BAD, "NO_SUCH_SIZE")


PLACES = [
    entries("entries from -1 on", -1, 10),
    entries("entries from the smallest number on", -(2**63), 10),
    entries("-1 entries", 0, -1),
    entries("the smallest number of entries", 0, -(2**31)),
    included("the place of entry -1", "NO_SUCH_INDEX", -1, 5),
    included("the place of an entry after the tree", "NO_SUCH_INDEX", 5, 5),
    included("the place of the last possible entry", "NO_SUCH_INDEX", LAST, 5),
    included("a place in the empty tree", "NO_SUCH_INDEX", 0, 0),
    included("a place in a tree of size -1", "NO_SUCH_SIZE", 0, -1),
    included("a place in a tree that is not yet", "NO_SUCH_SIZE", 0, LAST),
    consistent("a proof from a larger tree to a smaller", 5, 4),
    consistent("a proof from a tree of size -1", -1, 4),
    consistent("a proof to a tree of size -1", 0, -1),
    consistent("a proof between two negative trees", -5, -4),
    consistent("a proof to a tree that is not yet", 1, LAST),
]
ATTACKS = [*QUESTIONS, *PSEUDONYMS, *PLACES]
