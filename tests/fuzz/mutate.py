"""Structural changes of honest inputs: bytes, splices, values inside JSON and tokens."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

from credproof.base.encoding import b64url, parse_b64url
from credproof.base.errors import Malformed

from tests.adversary.mutation import mutated as mutated_json
from tests.world import signer_of

SIGNERS = {signer.public.kid: signer for signer in map(signer_of, ("root", "bank", "lend"))}
FUZZER = signer_of("fuzzer")
CHUNKS = (
    *(b"\x00", b"\n", b"\n\n", b" ", b".", b"~", b"=", b"-", b"\xff", b"\x80", b"\xe2\x80\x94 "),
    *(b'"', b"\\", b"\\ud800", b"{", b"[", b"]" * 40, b"[" * 40, b"1e5", b"-0", b"9" * 20),
    *("\N{ARABIC-INDIC DIGIT THREE}".encode(), "\u2028".encode(), b"\xef\xbb\xbf", b"null"),
)
"""What parsers trip over."""


def mutated(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """The input with one to four changes."""
    for _ in range(chance.randint(1, 4)):
        data = chance.choice(WAYS)(chance, data, others)
    return data


def flipped(chance: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def inserted(chance: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + chance.choice(CHUNKS) + data[at:]


def cut(chance: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    first, last = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    return data[:first] + data[last:] if chance.random() < 0.7 else data[first:last]


def repeated(chance: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    first, last = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
    return data[:last] + data[first:last] * chance.randint(1, 3) + data[last:]


def spliced(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = chance.choice(others)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def lines_moved(chance: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[at], lines[to] = lines[to], lines[at]
    return b"\n".join(lines)


def json_changed(chance: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    """A value inside the JSON replaced, written canonically again."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    changed = mutated_json(chance, value)
    text = json.dumps(changed, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def token_changed(chance: random.Random, data: bytes, _others: Sequence[bytes]) -> bytes:
    """A part of a token or disclosure changed inside its base64; mostly signed again."""
    parts = data.decode("latin-1").split(".")
    at = chance.randrange(min(2, len(parts)))
    try:
        parts[at] = b64url(json_changed(chance, parse_b64url(parts[at]), ()))
    except Malformed:
        return data
    if len(parts) == 3 and chance.random() < 0.9:
        parts = signed_again(parts)
    return ".".join(parts).encode("latin-1")


def signed_again(parts: list[str]) -> list[str]:
    """Signed by the key that the header names, else by a key of ours that the header then has."""
    try:
        header = json.loads(parse_b64url(parts[0]))
        signer = SIGNERS.get(header["kid"], FUZZER)
        if "jwk" in header:
            signer = FUZZER
            header |= {"kid": signer.public.kid, "jwk": signer.public.jwk(), "alg": "EdDSA"}
        text = json.dumps(header, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        head = f"{b64url(text.encode('utf-8', 'surrogatepass'))}.{parts[1]}"
    except (ValueError, KeyError, TypeError, RecursionError, Malformed):
        return parts
    return [*head.split("."), b64url(signer.sign(head.encode("latin-1")))]


def inner_token_changed(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """A token that stands inside JSON changed, as packages and enrolments hold them."""
    try:
        value = json.loads(data)
        name = next(n for n in ("token", "proof", "bundle") if n in value)
        value[name] = token_changed(chance, value[name].encode(), others).decode("latin-1")
    except (ValueError, TypeError, StopIteration, AttributeError, RecursionError):
        return data
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


Way = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
WAYS: tuple[Way, ...] = (
    *(flipped, inserted, cut, repeated, spliced, lines_moved),
    *(json_changed, json_changed, token_changed, token_changed, inner_token_changed),
)
