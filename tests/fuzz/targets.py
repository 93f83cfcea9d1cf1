"""Every parser of what comes from outside: it gives a value or an error of ours, never anything
else; where there is a serialiser, what parses comes back as the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credproof import standard
from credproof.attestation.package import Package, parse_package
from credproof.attestation.pseudonym import parse_subject_id
from credproof.attestation.schema import parse_schema
from credproof.attestation.sdjwt import parse_disclosure, verify_presentation
from credproof.attestation.token import parse_token
from credproof.attestation.withdrawal import parse_withdrawal
from credproof.base import encoding, jws
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.yaml import parse_yaml
from credproof.borrower import parse_pass
from credproof.enrolment import verify_enrolment
from credproof.log.audit import parse_state
from credproof.log.checkpoint import parse_checkpoint
from credproof.log.entry import parse_entry
from credproof.log.note import Note, VerifierKey, parse_note
from credproof.log.proof import format_proof, parse_proof
from credproof.provider import verify_possession
from credproof.records.mapping import parse_mapping
from credproof.verification.answer import parse_answer
from credproof.verification.consent import parse_request, verify_consent, verify_revocation
from credproof.verification.document import PAUSE
from credproof.verification.grammar import parse_policy
from credproof.verification.link import request_of
from credproof.verification.pausing import verify_pause
from credproof.verification.text import parse_text
from credproof.verification.trust import verify_trust
from credproof.verification.unsealing import parse_unseal_decision, parse_unseal_request
from credproof.wire import answer as answer_wire
from credproof.wire import trust as trust_wire
from credproof.wire.call import verify_call

from tests.world import DOMAIN, NOW, signer_of

CORPUS = Path(__file__).parent / "corpus"
ROOT = signer_of("root").public
BANK = signer_of("bank").public


def text(data: bytes) -> str:
    """Any bytes as a text, also one that is not Unicode: JSON escapes can hold such texts."""
    return data.decode("utf-8", "surrogateescape")


def unicode(data: bytes) -> str:
    """A text that came out of UTF-8 or of canonical JSON, as notes and trust bundles are."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("NOT_JSON", "not UTF-8") from error


@dataclass(frozen=True)
class Target:
    """A parser and, where there is one, its serialiser."""

    parse: Callable[[bytes], Any]
    write: Callable[[Any], bytes] | None = None


def _token(found: Any) -> bytes:
    return bytes(found.token.encode())


def _note(note: Note) -> bytes:
    lines = (
        f"\N{EM DASH} {s.name} {encoding.b64(s.key_id + s.signature)}\n" for s in note.signatures
    )
    return f"{note.text}\n{''.join(lines)}".encode()


def _package(package: Package) -> bytes:
    """The package written anew from what was read of it."""
    basis = None if package.basis is None else encoding.b64url(package.basis)
    prev = encoding.b64url(package.prev)
    hidden = {"account": package.account, "basis": basis, "prev": prev, "seq": package.seq}
    members = {"seed": encoding.b64url(package.seed), "token": package.token.jws.token}
    return encoding.canonical_json({**members, "hidden": hidden, "values": package.values})


def _call(data: bytes) -> Any:
    return verify_call(text(data), service=DOMAIN, method="/a/b", body=b"", now=NOW)


def _presentation(data: bytes) -> Any:
    return verify_presentation(text(data), BANK, now=NOW)


def _policy(data: bytes) -> Any:
    return parse_policy(data, standard.schemas())


def _bundle(data: bytes) -> Any:
    """A trust package, verified: the root is the only secret that the world's bundle needs."""
    return trust_wire.parse(data).verify(ROOT, at=NOW)


TARGETS: dict[str, Target] = {
    "answer": Target(lambda data: parse_answer(text(data))[0], _token),
    "answer-bundle": Target(answer_wire.parse, answer_wire.to_bytes),
    "audit-state": Target(parse_state, lambda state: state.to_bytes()),
    "call": Target(_call),
    "checkpoint": Target(
        lambda data: parse_checkpoint(unicode(data)), lambda found: found.to_text().encode()
    ),
    "consent": Target(
        lambda data: verify_consent(text(data)).document, lambda found: found.text.encode()
    ),
    "disclosure": Target(lambda data: parse_disclosure(text(data)), lambda f: f.text.encode()),
    "enrolment": Target(lambda data: verify_enrolment(data, now=NOW)),
    "entry": Target(parse_entry, lambda entry: entry.to_line()),
    "frame": Target(encoding.parse_frame, encoding.frame),
    "json": Target(encoding.parse_json, encoding.canonical_json),
    "jws": Target(lambda data: jws.parse(text(data), jws.CONSENT), _token),
    "link": Target(lambda data: request_of(text(data))),
    "loose-json": Target(encoding.parse_loose_json),
    "mapping": Target(parse_mapping),
    "note": Target(parse_note, _note),
    "package": Target(parse_package, _package),
    "pass": Target(parse_pass, lambda found: found.to_bytes()),
    "policy": Target(_policy),
    "text": Target(parse_text),
    "possession": Target(lambda data: verify_possession(text(data), provider="bank", now=NOW)),
    "presentation": Target(_presentation),
    "request": Target(lambda data: parse_request(text(data)).jws, _token),
    "pause": Target(lambda data: verify_pause(text(data), PAUSE)),
    "revocation": Target(lambda data: verify_revocation(text(data))),
    "schema": Target(parse_schema),
    "sd-jwt": Target(lambda data: parse_token(text(data)).jws, _token),
    "subject-id": Target(
        lambda data: parse_subject_id(text(data)), lambda found: found.to_text().encode()
    ),
    "tlog-proof": Target(parse_proof, format_proof),
    "trust-bundle": Target(
        lambda data: verify_trust(text(data), [], root=ROOT, at=NOW),
        lambda trust: trust.token.encode(),
    ),
    "trust-package": Target(trust_wire.parse, lambda package: package.to_bytes()),
    "trust-verified": Target(_bundle, lambda t: trust_wire.package_of(t).to_bytes()),
    "vkey": Target(lambda data: VerifierKey.parse(unicode(data)), lambda key: str(key).encode()),
    "unseal": Target(lambda data: parse_unseal_request(text(data)).jws, _token),
    "unseal-decision": Target(lambda data: parse_unseal_decision(text(data)).jws, _token),
    "withdrawal": Target(lambda data: parse_withdrawal(text(data)).jws, _token),
    "yaml": Target(parse_yaml),
}
"""The parsers by name; each has a folder of seeds of its name."""
DOCUMENTS = {"policy": _policy, "text": parse_text, "schema": parse_schema}
"""Parsed documents keep their canonical JSON, which must parse to the same document."""


def hold(name: str, data: bytes) -> bool:
    """Whether the bytes parse; fails when the parser does anything but give a value or refuse."""
    target = TARGETS[name]
    try:
        value = target.parse(data)
    except (Malformed, VerificationFailed):
        return False
    if target.write is not None:
        assert target.write(value) == data
    if name in DOCUMENTS:
        assert DOCUMENTS[name](value.document).document == value.document
    return True


def seeds(name: str) -> list[bytes]:
    """The honest inputs of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


__all__ = ["CORPUS", "TARGETS", "hold", "seeds"]
