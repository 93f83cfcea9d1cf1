"""Every text, byte string and list that comes in has a limit by name."""

from __future__ import annotations

import importlib
import pkgutil

import credproof.v1
from credproof.wire.limits import ITEM_LIMITS, LIMITS, name_of
from google.protobuf.descriptor import Descriptor, FieldDescriptor

SIZED = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
ALSO_IN = ("AnswerBundle",)
"""Messages that come in without being a request: kept answers."""


def roots() -> list[Descriptor]:
    found = []
    for module in pkgutil.iter_modules(credproof.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"credproof.v1.{module.name}").DESCRIPTOR
            messages = descriptor.message_types_by_name
            found += [m for n, m in messages.items() if n.endswith("Request") or n in ALSO_IN]
    return found


def fields() -> dict[str, FieldDescriptor]:
    """Every field that can come in, by name."""
    found: dict[str, FieldDescriptor] = {}
    waiting, seen = roots(), set()
    while waiting:
        message = waiting.pop()
        seen.add(message.name)
        for field in message.fields:
            found[name_of(field)] = field
            if field.message_type is not None and field.message_type.name not in seen:
                waiting.append(field.message_type)
    return found


def test_every_incoming_field_has_a_limit():
    sized = {n for n, f in fields().items() if f.is_repeated or f.type in SIZED}
    assert sized
    assert set() == sized - set(LIMITS)


def test_every_item_of_an_incoming_list_has_a_limit():
    lists = {n for n, f in fields().items() if f.is_repeated and f.type in SIZED}
    assert lists == set(ITEM_LIMITS)


def test_no_limit_is_for_a_field_that_is_gone():
    assert set() == set(LIMITS) - set(fields())
