"""Texts that people read, one document per language: templates, and the words put into them.

They travel in the trust bundle under their digest, so that what a borrower was shown can be
made again. Format: `docs/PROTOCOL.md`, "Texts".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from string import Template
from typing import Final

from credproof.base.encoding import canonical_json, tagged_hash
from credproof.base.errors import Malformed
from credproof.base.members import Members
from credproof.base.yaml import parse_document
from credproof.verification.consent import LANGUAGES, MODES
from credproof.verification.policy import PURPOSES, REASONS

_WORDS: Final[Mapping[str, frozenset[str]]] = {
    "days": frozenset({"count"}),
    "percent": frozenset({"count"}),
    "at_least": frozenset({"claim", "threshold"}),
    "below": frozenset({"claim", "threshold"}),
    "fact": frozenset({"fact"}),
    "assured": frozenset({"channels", "providers", "level", "days"}),
    "failing": frozenset({"question"}),
    "told": frozenset(),
    "known": frozenset(),
    "rest": frozenset({"untouched"}),
    "each": frozenset(),
    "any": frozenset(),
    "tier": frozenset({"tier"}),
    "caps": frozenset({"count", "period"}),
    "consent": frozenset(),
    "day": frozenset(),
    "month": frozenset(),
    "fresh": frozenset({"days"}),
    "narrowest": frozenset({"claim", "bands", "days"}),
    "nothing": frozenset(),
    "separator": frozenset(),
}
"""Each phrase, and the places in it that must be filled."""
_OUTCOMES: Final[Mapping[str, frozenset[str]]] = {
    "TIER": frozenset({"tier"}),
    "REFER": frozenset(),
    "INCOMPLETE": frozenset(),
}
_NOTICE: Final = frozenset(
    {"lender", "lender_id", "licence", "service", "purpose", "mode", "until", "data_life"}
    | {"policies", "untouched"}
)
_POLICY: Final = frozenset({"title", "id", "version", "tiers", "caps", "fresh"})
_ADVERSE: Final = frozenset(
    {"lender", "time", "service", "title", "id", "version", "outcome", "reason", "sources"}
)


@dataclass(frozen=True)
class Text:
    """The texts of one language; `document` is their canonical JSON."""

    language: str
    version: int
    purposes: Mapping[str, str]
    modes: Mapping[str, str]
    words: Mapping[str, str]
    notice: str
    policy: str
    adverse: str
    outcomes: Mapping[str, str]
    reasons: Mapping[str, str]
    document: bytes

    @cached_property
    def digest(self) -> bytes:
        """What pins the texts, 32 bytes."""
        return tagged_hash("text", self.document)

    def say(self, phrase: str, **places: object) -> str:
        """A phrase with its places filled."""
        return fill(self.words[phrase], **places)


def fill(template: str, **places: object) -> str:
    """A template with its places filled.

    Further lines of what is filled in are indented as its first one is, so that lists stay lists.
    """
    lines = []
    for line in template.splitlines():
        indent = " " * (len(line) - len(line.lstrip(" ")))
        lines.append(Template(line).substitute(places).replace("\n", f"\n{indent}"))
    return "\n".join(lines)


def parse_text(data: bytes) -> Text:
    """The texts in a YAML document or in canonical JSON.

    Raises:
        Malformed: `BAD_TEXT` when a template lacks what people must be told or has a place that
            nothing fills; `BAD_MEMBER`, or as `parse_document`.
    """
    value = parse_document(data)
    top = Members(value, "text")
    text = Text(
        language=top.take("language", str),
        version=top.take("version", int),
        purposes=_phrases(top, "purposes", _plain(PURPOSES)),
        modes=_phrases(top, "modes", _plain(MODES)),
        words=_phrases(top, "words", _WORDS),
        notice=_template(top.take("notice", str), _NOTICE),
        policy=_template(top.take("policy", str), _POLICY),
        adverse=_template(top.take("adverse", str), _ADVERSE),
        outcomes=_phrases(top, "outcomes", _OUTCOMES),
        reasons=_phrases(top, "reasons", _plain(("SILENT", "LOWER", *REASONS))),
        document=canonical_json(value),
    )
    top.finish()
    if text.language not in LANGUAGES or text.version < 1:
        raise Malformed("BAD_TEXT", "texts are in an unknown language or lack a version")
    return text


def _plain(names: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """Phrases without places."""
    return dict.fromkeys(names, frozenset())


def _phrases(top: Members, name: str, wanted: Mapping[str, frozenset[str]]) -> Mapping[str, str]:
    members = Members(top.take(name, dict), name)
    found = {key: _template(members.take(key, str), places) for key, places in wanted.items()}
    members.finish()
    return found


def _template(text: str, places: frozenset[str]) -> str:
    template = Template(text)
    if not text or not template.is_valid() or set(template.get_identifiers()) != places:
        raise Malformed("BAD_TEXT", f"a text must have the places {', '.join(sorted(places))}")
    return text
