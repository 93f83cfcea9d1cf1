"""One item, byte or letter over the limit of any field is refused, naming the field."""

from __future__ import annotations

import importlib
import pkgutil

import credproof.v1
import pytest
from credproof.base.errors import LimitExceeded, Malformed
from credproof.wire.limits import ITEM_LIMITS, LIMITS, check
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass


def messages() -> dict[str, type[Message]]:
    """Every message by its name without a package, as the tables write it."""
    found = {}
    for module in pkgutil.iter_modules(credproof.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"credproof.v1.{module.name}").DESCRIPTOR
            for name, message in descriptor.message_types_by_name.items():
                found[name] = GetMessageClass(message)
    return found


MESSAGES = messages()


def filled(name: str, size: int, *, items: int | None = None) -> Message:
    """A message with one field set: to `size` bytes, letters or items, or to items of a size."""
    message_name, _, field_name = name.partition(".")
    message = MESSAGES[message_name]()
    field = message.DESCRIPTOR.fields_by_name[field_name]
    if not field.is_repeated:
        setattr(message, field_name, of_size(field, size))
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        getattr(message, field_name).extend(
            GetMessageClass(field.message_type)() for _ in range(size)
        )
    else:
        count, length = (size, 0) if items is None else (items, size)
        getattr(message, field_name).extend([of_size(field, length)] * count)
    return message


def of_size(field: FieldDescriptor, size: int) -> str | bytes:
    return "a" * size if field.type == FieldDescriptor.TYPE_STRING else bytes(size)


@pytest.mark.parametrize("name", LIMITS)
def test_what_passes_the_limit_of_a_field_is_refused_by_its_name(name):
    with pytest.raises(LimitExceeded) as caught:
        check(filled(name, LIMITS[name] + 1))
    assert caught.value.reason == "LIMIT_EXCEEDED"
    assert name in caught.value.message


@pytest.mark.parametrize("name", ITEM_LIMITS)
def test_an_item_that_passes_its_limit_is_refused_by_the_name_of_its_list(name):
    with pytest.raises(LimitExceeded) as caught:
        check(filled(name, ITEM_LIMITS[name] + 1, items=1))
    assert name in caught.value.message


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_exactly_at_the_limit_of_a_field_is_let_in(name):
    check(filled(name, LIMITS[name]))


@pytest.mark.parametrize("name", ITEM_LIMITS)
def test_an_item_exactly_at_its_limit_is_let_in(name):
    check(filled(name, ITEM_LIMITS[name], items=1))


@pytest.mark.parametrize("name", sorted({name.partition(".")[0] for name in LIMITS}))
def test_an_unknown_field_is_refused(name):
    """Field 99, one byte: no message of ours has it."""
    message = MESSAGES[name].FromString(bytes([0x9A, 0x06, 0x01, 0x41]))
    with pytest.raises(Malformed) as caught:
        check(message)
    assert caught.value.reason == "NOT_A_MESSAGE"
