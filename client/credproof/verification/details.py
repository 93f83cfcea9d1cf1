"""Details: what a digest in a log entry commits to, opened and compared with the entry.

A detail that was opened shows itself and nothing beside it. Formats: `docs/PROTOCOL.md`,
"Unsealing a detail".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from credproof.base.encoding import parse_json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.log.entry import Entry
from credproof.verification.answer import (
    ENTRY_ANSWER,
    answer_commitment,
    parse_answer,
)
from credproof.verification.answer_entry import parse_given
from credproof.verification.document import CONSENT

ENTRY_GRANTED: Final = "consent.granted"
VERDICTS, ANSWER, TERMS = "verdicts", "answer", "consent"

DETAILS: Final[Mapping[str, tuple[str, ...]]] = {
    ENTRY_ANSWER: (ANSWER, VERDICTS),
    ENTRY_GRANTED: (TERMS,),
}
"""Which details an entry of a kind has that a service can open."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A detail as it is given: its bytes, and the salt of the digest, empty where it has none."""

    content: bytes
    salt: bytes


def is_detail_name(name: str) -> bool:
    """Whether entries of any kind have a detail of this name."""
    return any(name in names for names in DETAILS.values())


def verify_detail(entry: Entry, detail: str, opening: Opening) -> Mapping[str, Any]:
    """What the entry commits to, as JSON: of an answer or a consent what was signed.

    Raises:
        Malformed: `NO_SUCH_DETAIL`; the content does not parse.
        VerificationFailed: `OTHER_DETAIL` when the entry commits to something else.
    """
    if detail not in DETAILS.get(entry.kind, ()):
        raise no_such_detail()
    return _VERIFIERS[detail](entry, opening)


def no_such_detail() -> Malformed:
    """The same for every entry of a kind: nothing about its content follows from it."""
    return Malformed("NO_SUCH_DETAIL", "entries of this kind have no such detail")


def _verdicts(entry: Entry, opening: Opening) -> Mapping[str, Any]:
    verdicts = _object(opening.content)
    if answer_commitment(opening.salt, verdicts) != parse_given(entry).verdicts:
        raise _other()
    return verdicts


def _answer(entry: Entry, opening: Opening) -> Mapping[str, Any]:
    parsed, _ = parse_answer(_text(opening.content))
    if opening.salt or parsed.id != entry.object:
        raise _other()
    return parsed.claims


def _consent(entry: Entry, opening: Opening) -> Mapping[str, Any]:
    if opening.salt or CONSENT.id(opening.content) != entry.object:
        raise _other()
    return _object(opening.content)


def _object(content: bytes) -> dict[str, Any]:
    found = parse_json(content)
    if not isinstance(found, dict):
        raise Malformed("NOT_JSON", "a detail is no JSON object")
    return found


def _text(content: bytes) -> str:
    try:
        return content.decode("ascii")
    except UnicodeDecodeError as error:
        raise Malformed("NOT_A_JWS", "a detail is no token") from error


def _other() -> VerificationFailed:
    return VerificationFailed("OTHER_DETAIL", "the entry commits to another detail")


_VERIFIERS: Final[Mapping[str, Callable[[Entry, Opening], Mapping[str, Any]]]] = {
    VERDICTS: _verdicts,
    ANSWER: _answer,
    TERMS: _consent,
}
