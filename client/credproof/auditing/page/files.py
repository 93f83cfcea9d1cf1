"""The files that a page holds: the answer, the trust, and what `openssl` verifies one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding

from credproof.attestation.token import parse_token
from credproof.auditing.page import markup
from credproof.auditing.page.logged import named_entries
from credproof.auditing.page.words import Words
from credproof.auditing.stamping import StampProof
from credproof.base import jws
from credproof.base.errors import CredproofError
from credproof.base.jws import Jws
from credproof.base.keys import PublicKey
from credproof.base.limits import TRUST_BYTES_MAX
from credproof.log.note import parse_note
from credproof.log.timestamp import TimestampAuthority
from credproof.verification.answer import AnswerBundle, parse_answer
from credproof.verification.trust import Trust
from credproof.wire import answer as answer_wire
from credproof.wire.trust import package_of

ANSWER_FILE: Final = "kept.answer"
"""The name of the answer file inside a page."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Bytes and an Ed25519 signature over them, which `key` verifies if it is genuine.

    `issuer` is the provider that a token names; empty where no provider signs.
    """

    name: str
    message: bytes
    signature: bytes
    key: PublicKey
    issuer: str = ""


def signed_parts(
    bundle: AnswerBundle, trust: Trust, roots: Sequence[PublicKey]
) -> Iterator[Signed]:
    """What is signed and by a known Ed25519 key said to be; nothing is verified."""
    found: list[tuple[str, Jws, PublicKey | None, str]] = []
    package = jws.parse(trust.token, jws.TRUST, limit=TRUST_BYTES_MAX)
    found.append(("trust", package, _of(roots, package.kid), ""))
    answer = parse_answer(bundle.answer)[0]
    keys = [key.public for key in trust.bundle.answer_keys]
    found.append(("answer", answer, _of(keys, answer.kid), ""))
    named = [(f"token-{i}", item.token) for i, item in enumerate(bundle.tokens, 1)]
    named += [(f"binding-{i}", item.token) for i, item in enumerate(bundle.bindings, 1)]
    for name, text in named:
        with suppress(CredproofError):  # what is no token is told by its check
            token = parse_token(text)
            provider = trust.participants.get(token.issuer)
            keys = [key.public for key in provider.keys] if provider else []
            found.append((name, token.jws, _of(keys, token.jws.kid), token.issuer))
    for name, parsed, key, issuer in found:
        if key is not None and key.alg == "EdDSA":
            yield Signed(name, parsed.signing_input, parsed.signature, key, issuer)
    yield from _checkpoint(bundle.checkpoint, trust)


def _of(keys: Sequence[PublicKey], kid: str) -> PublicKey | None:
    return next((key for key in keys if key.kid == kid), None)


def _checkpoint(note: bytes, trust: Trust) -> Iterator[Signed]:
    known = {(k.name, k.key_id): k.public for k in (trust.log_key, *trust.old_log_keys)}
    with suppress(CredproofError):
        parsed = parse_note(note)
        for line in parsed.signatures:
            if key := known.get((line.name, line.key_id)):
                yield Signed("checkpoint", parsed.text.encode(), line.signature, key)
                return  # a key that signed twice is refused by its check


def section(
    bundle: AnswerBundle,
    trust: Trust,
    then: Trust | None,
    signed: Sequence[Signed],
    stamp: StampProof | None,
    authority: TimestampAuthority | None,
    words: Words,
) -> str:
    """Links to all of them, each with what it is."""
    shown = [
        (words.say("file_answer"), [(ANSWER_FILE, answer_wire.to_bytes(bundle))]),
        (
            words.say("file_trust", version=trust.bundle.version),
            [("trust.json", package_of(trust).to_bytes())],
        ),
    ]
    if then is not None:
        told = words.say("file_then", version=then.bundle.version)
        shown.append((told, [("trust-then.json", package_of(then).to_bytes())]))
    shown.append((words.say("file_signed"), list(_signed_files(signed))))
    places = enumerate(named_entries(bundle, words), 1)
    lines = [(f"entry-{i}.json", place.line) for i, (_, place) in places]
    shown.append((words.say("file_entries"), lines))
    if stamp is not None:
        shown.append((words.say("file_stamp"), list(_stamp_files(stamp, authority))))
    links = (
        f"<p>{markup.escaped(told)} {' '.join(markup.link(*file) for file in files)}</p>"
        for told, files in shown
    )
    return markup.heading(words.say("files")) + "".join(links)


def _signed_files(signed: Sequence[Signed]) -> Iterator[tuple[str, bytes]]:
    for part in signed:
        yield f"{part.name}.signed", part.message
        yield f"{part.name}.sig", part.signature
        yield f"{part.name}.pem", part.key.pem()


def _stamp_files(
    stamp: StampProof, authority: TimestampAuthority | None
) -> Iterator[tuple[str, bytes]]:
    yield "stamped.text", parse_note(stamp.kept.note).text.encode()
    yield "stamped.tsr", stamp.kept.response
    if authority is not None:
        pem = b"".join(c.public_bytes(Encoding.PEM) for c in authority.certificates)
        yield "authority.pem", pem
