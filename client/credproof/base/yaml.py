"""Strict YAML: maps, lists, texts, integers, booleans and null, each key once."""

from __future__ import annotations

import re
from typing import Any

import yaml

from credproof.base.encoding import parse_json
from credproof.base.errors import Malformed
from credproof.base.limits import DOCUMENT_BYTES_MAX, at_most

_ALLOWED = frozenset(f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str"))
_SPELLINGS = {
    "tag:yaml.org,2002:int": re.compile(r"(0|-?[1-9][0-9]*)\Z"),
    "tag:yaml.org,2002:bool": re.compile(r"(true|false)\Z"),
    "tag:yaml.org,2002:null": re.compile(r"(null|~)?\Z"),
}
"""YAML 1.1 also reads NO as false, 010 as 8 and 1:30 as 90: nobody means that."""


class _StrictLoader(yaml.SafeLoader):
    """Refuses anchors and aliases (they can explode), duplicate keys and surprising types."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        node = super().compose_node(parent, index)
        if self.anchors:  # without an anchor there is nothing that an alias could repeat
            raise yaml.YAMLError("anchor")
        if node is not None and not _is_plain(node):
            raise yaml.YAMLError("type")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=True)
        if len(mapping) != len(node.value) or not all(isinstance(key, str) for key in mapping):
            raise yaml.YAMLError("key")
        return mapping


def _is_plain(node: yaml.Node) -> bool:
    if node.tag in _SPELLINGS:
        return bool(_SPELLINGS[node.tag].match(node.value))
    return node.tag in _ALLOWED


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
            "NOT_YAML", "not strict YAML: no anchors, floats, dates, yes/no or repeated keys"
        ) from error
