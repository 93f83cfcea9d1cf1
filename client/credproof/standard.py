"""What ships with credproof: schemas, policies, texts, the demo's data."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from credproof.attestation.schema import Schema, parse_schema
from credproof.base.yaml import parse_document
from credproof.verification.consent import LANGUAGES
from credproof.verification.grammar import parse_policy
from credproof.verification.policy import Policy
from credproof.verification.purpose import Template, parse_template
from credproof.verification.text import Text, parse_text

_DATA = files("credproof") / "data"


def path(name: str) -> Traversable:
    """Where a shipped file lies; `importlib.resources.as_file` makes it a path on disk."""
    return _DATA / name


def read(name: str) -> bytes:
    """A shipped file, by its path below `credproof/data`."""
    return (_DATA / name).read_bytes()


@cache
def schemas() -> Mapping[str, Schema]:
    """The shipped schemas by id (`name/version`)."""
    found = (parse_schema(read(f"schemas/{name}.yaml")) for name in _SCHEMAS)
    return {schema.id: schema for schema in found}


@cache
def policies() -> tuple[Policy, ...]:
    """The shipped policies."""
    return tuple(parse_policy(read(f"policies/{name}.yaml"), schemas()) for name in _POLICIES)


@cache
def purposes() -> tuple[Template, ...]:
    """The shipped templates of what is fair for a purpose."""
    return tuple(parse_template(item) for item in parse_document(read("purposes.yaml")))


@cache
def texts() -> tuple[Text, ...]:
    """The shipped texts, one document per language."""
    return tuple(parse_text(read(f"texts/{name}.yaml")) for name in LANGUAGES)


def text(language: str) -> Text:
    """The shipped texts of a language (`en` or `zh`)."""
    return next(text for text in texts() if text.language == language)


_SCHEMAS = ("consumer-revolving", "key-binding", "identity-assurance")
_POLICIES = ("revolving-standing", "assured-standing")
