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
    """Bytes and an Ed25519 signature over them, which `key` verifies if it is genuine."""

    name: str
    message: bytes
    signature: bytes
    key: PublicKey


def signed_parts(
    bundle: AnswerBundle, trust: Trust, roots: Sequence[PublicKey]
) -> Iterator[Signed]:
    """What is signed and by a known Ed25519 key said to be; nothing is verified."""
    found: list[tuple[str, Jws, PublicKey | None]] = []
    package = jws.parse(trust.token, jws.TRUST, limit=TRUST_BYTES_MAX)
    found.append(("trust", package, _of(roots, package.kid)))
    answer = parse_answer(bundle.answer)[0]
    keys = [key.public for key in trust.bundle.answer_keys]
    found.append(("answer", answer, _of(keys, answer.kid)))
    named = [(f"token-{i}", item.token) for i, item in enumerate(bundle.tokens, 1)]
    named += [(f"binding-{i}", item.token) for i, item in enumerate(bundle.bindings, 1)]
    for name, text in named:
        with suppress(CredproofError):  # what is no token is told by its check
            token = parse_token(text)
            provider = trust.participants.get(token.issuer)
            keys = [key.public for key in provider.keys] if provider else []
            found.append((name, token.jws, _of(keys, token.jws.kid)))
    for name, parsed, key in found:
        if key is not None and key.alg == "EdDSA":
            yield Signed(name, parsed.signing_input, parsed.signature, key)
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


def steps(
    signed: Sequence[Signed],
    stamp: StampProof | None,
    authority: TimestampAuthority | None,
    words: Words,
) -> str:
    """How to check the page: commands that work in the directory of its files."""
    names = [part.name for part in signed]
    parts = [markup.heading(words.say("how")), markup.paragraph(words.say("how_root"))]
    parts += [markup.block(_FINGERPRINT) if "trust" in names else ""]
    parts += [markup.paragraph(words.say("how_signed")), markup.block(_openssl(signed))]
    parts += [markup.paragraph(words.say("how_keys")), markup.block(_keys(names))]
    objects = [name for name in names if name not in ("trust", "checkpoint")]
    lines = "\n".join(f"openssl dgst -sha256 -binary {name}.signed{_B64URL}" for name in objects)
    parts += [markup.paragraph(words.say("how_object")), markup.block(lines)]
    leaf = "(printf '\\0'; cat entry-1.json) | openssl dgst -sha256"
    parts += [markup.paragraph(words.say("how_entry")), markup.block(leaf)]
    if stamp is not None and authority is not None:
        told = (
            "openssl ts -verify -in stamped.tsr -data stamped.text -CAfile authority.pem"
            f" -attime {stamp.stamped.time}"
        )
        parts += [markup.paragraph(words.say("how_stamp")), markup.block(told)]
    parts += [markup.paragraph(words.say("how_rest")), markup.paragraph(words.say("how_all"))]
    again = f"credproof lender verify {ANSWER_FILE} --home lend"
    again += f"\ncredproof audit evidence {ANSWER_FILE} --language {words.language} --home audit"
    return "".join((*parts, markup.block(again)))


_RAW: Final = "openssl pkey -pubin -in {0}.pem -outform DER | tail -c 32"
"""The 32 bytes of an Ed25519 key; before them is what says so (RFC 8410)."""
_B64URL: Final = " | base64 | tr '/+' '_-' | tr -d '='"
_FINGERPRINT: Final = (
    "(printf '\\0\\0\\0\\20credproof/v1/key\\0\\0\\0\\5EdDSA\\0\\0\\0\\40'; "
    f"{_RAW.format('trust')}) | openssl dgst -sha256"
)
"""H("key", "EdDSA", key), of which the fingerprint is the first half."""
_BUNDLE: Final = (
    "(cut -d. -f2 trust.signed | tr '_-' '/+' | tr -d '\\n'; printf ==) | base64 -d 2>/dev/null"
    " > trust.text"
)
"""What the trust bundle says; `==` is more padding than some lengths need, and is ignored."""


_IN_JWK: Final = f'\\"x\\":\\"$({_RAW}{_B64URL})\\"'
_IN_VKEY: Final = f"+$({{{{ printf '\\1'; {_RAW}; }}}} | base64)"
"""How the bundle writes a key, and the log's; what stands before keeps nothing from being found."""


def _keys(names: Sequence[str]) -> str:
    """Whether each key is in the bundle: a line for each that is."""
    lines = [_BUNDLE]
    for name in names:
        if name != "trust":
            shown = (_IN_VKEY if name == "checkpoint" else _IN_JWK).format(name)
            told = f'grep -qF "{shown}" trust.text && echo {name}.pem: in the trust bundle'
            lines.append(told)
    return "\n".join(lines)


def _openssl(signed: Sequence[Signed]) -> str:
    command = "openssl pkeyutl -verify -pubin -inkey {0}.pem -rawin -in {0}.signed -sigfile {0}.sig"
    return "\n".join(command.format(part.name) for part in signed)
