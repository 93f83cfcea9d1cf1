"""How to check a page with other people's tools: commands for the directory of its files.

They use `openssl` and what every shell has. Each says what it found, and of whose key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from credproof.auditing.page import markup
from credproof.auditing.page.files import ANSWER_FILE, Signed
from credproof.auditing.page.logged import named_entries
from credproof.auditing.page.words import Words
from credproof.auditing.stamping import StampProof
from credproof.base.encoding import b64
from credproof.log.timestamp import TimestampAuthority
from credproof.verification.answer import AnswerBundle, Logged

_RAW: Final = "openssl pkey -pubin -in {name}.pem -outform DER | tail -c 32"
"""The 32 bytes of an Ed25519 key; before them is what says so (RFC 8410)."""
_B64URL: Final = " | base64 | tr '/+' '_-' | tr -d '='"
_FINGERPRINT: Final = (
    "(printf '\\0\\0\\0\\20credproof/v1/key\\0\\0\\0\\5EdDSA\\0\\0\\0\\40'; "
    f"{_RAW.format(name='trust')}) | openssl dgst -sha256"
)
"""H("key", "EdDSA", key), of which the fingerprint is the first half."""
_VERIFY: Final = (
    "openssl pkeyutl -verify -pubin -inkey {name}.pem -rawin -in {name}.signed -sigfile {name}.sig"
)
_JWK: Final = f'[^]]*\\"x\\":\\"$({_RAW}{_B64URL})\\"'
_VKEY: Final = f"[^]]*+$({{{{ printf '\\1'; {_RAW}; }}}} | base64)" + '\\"'
"""How the bundle writes a key, and the log's, in the list where it must stand (grep)."""


def steps(
    bundle: AnswerBundle,
    signed: Sequence[Signed],
    stamp: StampProof | None,
    authority: TimestampAuthority | None,
    words: Words,
) -> str:
    """All of them in order, each with what it shows."""
    shown = [
        ("how_root", [_FINGERPRINT] if signed and signed[0].name == "trust" else []),
        ("how_signed", [_VERIFY.format(name=part.name) for part in signed]),
        ("how_keys", list(_keys(signed, words))),
        ("how_read", list(_read(signed))),
        ("how_object", list(_objects(bundle, signed, words))),
        ("how_entry", list(_entries(bundle, words))),
    ]
    if stamp is not None and authority is not None:
        shown.append(("how_stamp", [_stamp(stamp)]))
    again = [
        f"credproof lender verify {ANSWER_FILE} --home lend",
        f"credproof audit evidence {ANSWER_FILE} --language {words.language} --home audit",
    ]
    shown += [("how_rest", []), ("how_all", again)]
    parts = [markup.heading(words.say("how"))]
    for phrase, lines in shown:
        parts.append(markup.paragraph(words.say(phrase)))
        parts += [markup.block("\n".join(lines))] if lines else []
    return "".join(parts)


def _keys(signed: Sequence[Signed], words: Words) -> Iterator[str]:
    """Whether the bundle lists each key, and as whose: a line for each that it does."""
    for part in signed:
        if part.name == "trust":
            yield f"{_payload(part)} > trust.text"
            continue
        listed, whose = _place(part, words)
        told = f"{part.name}.pem: {whose}"
        yield f'grep -q "{listed.format(name=part.name)}" trust.text && echo "{told}"'


def _payload(part: Signed) -> str:
    """What prints the payload of a JWS; `base64` wants the padding that JWS leaves out."""
    padding = "=" * (-len(part.message.split(b".")[1]) % 4)
    text = f"cut -d. -f2 {part.name}.signed | tr '_-' '/+' | tr -d '\\n'"
    return f"({text}; printf '{padding}') | base64 -d"


def _read(signed: Sequence[Signed]) -> Iterator[str]:
    """What the answer says that was signed, on a line of its own."""
    for part in signed:
        if part.name == "answer":
            yield f"{_payload(part)}; echo"


def _objects(bundle: AnswerBundle, signed: Sequence[Signed], words: Words) -> Iterator[str]:
    """Whether each entry is about the object beside it: a line for each that is."""
    names = ["answer"]
    names += [f"token-{i}" for i, _ in enumerate(bundle.tokens, 1)]
    names += [f"binding-{i}" for i, _ in enumerate(bundle.bindings, 1)]
    known = {part.name for part in signed}
    for number, name in enumerate(names, 1):
        if name in known:
            digest = f"openssl dgst -sha256 -binary {name}.signed{_B64URL}"
            told = words.say("entry_is_about", number=number, name=f"{name}.signed")
            yield (f'grep -q "\\"object\\":\\"$({digest})\\"" entry-{number}.json && echo "{told}"')


def _place(part: Signed, words: Words) -> tuple[str, str]:
    """Where the bundle must list a key, and whose it is then."""
    if part.name == "checkpoint":
        return f'\\"\\(log\\|old_logs\\)\\":{_VKEY}', words.say("key_is_logs")
    if part.issuer:
        listed = f'\\"id\\":\\"{part.issuer}\\",\\"keys\\":.{_JWK}'
        return listed, words.say("key_is_providers", provider=part.issuer)
    return f'\\"answer_keys\\":.{_JWK}', words.say("key_is_answers")


def _entries(bundle: AnswerBundle, words: Words) -> Iterator[str]:
    for number, (_, place) in enumerate(named_entries(bundle, words), 1):
        yield from entry_steps(number, place, bundle.checkpoint, words)


def entry_steps(number: int, place: Logged, checkpoint: bytes, words: Words) -> Iterator[str]:
    """From an entry up to the root in a checkpoint (RFC 9162, 2.1.3.2)."""
    leaf = f"(printf '\\0'; cat entry-{number}.json) | openssl dgst -sha256"
    yield leaf
    yield f"{leaf} -binary > hash"
    size = checkpoint.split(b"\n")[1]
    index, last = place.log_index, int(size) - 1 if size.isdigit() else 0
    for other in place.hashes:
        sibling, own = f"echo {b64(other)} | base64 -d", "cat hash"
        is_right = index % 2 == 1 or index == last
        pair = (sibling, own) if is_right else (own, sibling)
        joined = f"(printf '\\1'; {pair[0]}; {pair[1]}) | openssl dgst -sha256 -binary"
        yield f"{joined} > next && mv next hash"
        while is_right and index % 2 == 0 and index:
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    told = words.say("entry_is_logged", number=number)
    yield f'[ "$(base64 < hash)" = "$(sed -n 3p checkpoint.signed)" ] && echo "{told}"'


def _stamp(stamp: StampProof) -> str:
    return (
        "openssl ts -verify -in stamped.tsr -data stamped.text -CAfile authority.pem"
        f" -attime {stamp.stamped.time}"
    )
