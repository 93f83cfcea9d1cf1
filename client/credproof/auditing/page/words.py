"""What a page of evidence says, in Chinese or English: `credproof/data/evidence`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from string import Template

from credproof import standard
from credproof.base.encoding import time_text
from credproof.base.errors import Malformed
from credproof.base.yaml import parse_document
from credproof.verification.consent import LANGUAGES
from credproof.verification.participant import NEVER
from credproof.verification.text import Text


@dataclass(frozen=True)
class Words:
    """The phrases of one language, and the words that policies are told in."""

    language: str
    phrases: Mapping[str, str]
    text: Text

    def say(self, phrase: str, **places: object) -> str:
        """A phrase with its places filled."""
        return Template(self.phrases[phrase]).substitute(places)

    def until(self, time: int) -> str:
        """The end of a validity."""
        return self.phrases["no_end"] if time >= NEVER else time_text(time)


@cache
def words_in(language: str) -> Words:
    """The words of a language.

    Raises:
        Malformed: `BAD_LANGUAGE`.
    """
    if language not in LANGUAGES:
        raise Malformed("BAD_LANGUAGE", "there is no page in this language: take zh or en")
    phrases = parse_document(standard.read(f"evidence/{language}.yaml"))
    return Words(language, phrases, standard.text(language))
