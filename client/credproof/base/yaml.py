"""Strict YAML: maps, lists, texts, integers, booleans and null, each key once."""

from __future__ import annotations

from typing import Any

import yaml

from credproof.base.encoding import parse_json
from credproof.base.errors import Malformed
from credproof.base.limits import DOCUMENT_BYTES_MAX, at_most

_ALLOWED = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "bool", "null")
)


class _StrictLoader(yaml.SafeLoader):
    """Refuses aliases (they can explode), duplicate keys, floats, dates and other types."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("alias")
        node = super().compose_node(parent, index)
        if node is not None and node.tag not in _ALLOWED:
            raise yaml.YAMLError("type")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=True)
        if len(mapping) != len(node.value) or not all(isinstance(key, str) for key in mapping):
            raise yaml.YAMLError("key")
        return mapping


def parse_document(data: bytes) -> Any:
    """The value of a document that people write as YAML and machines as canonical JSON.

    Raises:
        Malformed: as `parse_yaml` or, for what starts as a JSON object, as `parse_json`.
        LimitExceeded: larger than `DOCUMENT_BYTES_MAX`.
    """
    at_most(len(data), DOCUMENT_BYTES_MAX, "document")
    return parse_json(data) if data.startswith(b"{") else parse_yaml(data)


def parse_yaml(data: bytes) -> Any:
    """The value of a YAML document in UTF-8.

    Raises:
        Malformed: `NOT_YAML` for what is not YAML, or is more than strict YAML.
        LimitExceeded: larger than `DOCUMENT_BYTES_MAX`.
    """
    at_most(len(data), DOCUMENT_BYTES_MAX, "document")
    try:
        return yaml.load(data.decode("utf-8"), _StrictLoader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise Malformed(
            "NOT_YAML", "not strict YAML: no aliases, floats, dates or repeated keys"
        ) from error
