"""Answer files: one spelling, every field within its limit."""

from __future__ import annotations

import json

import pytest
from credproof.base.errors import CredproofError, Malformed
from credproof.v1 import answer_pb2 as pb
from credproof.wire import answer as wire

from tests.world import World

WORLD = World()
BUNDLE = WORLD.finish(WORLD.case())


def test_a_bundle_comes_back_as_it_was_written():
    assert wire.parse(wire.to_bytes(BUNDLE)) == BUNDLE


def test_an_unknown_field_is_refused():
    extra = bytes([0x9A, 0x06, 0x01, 0x41])  # field 99, one byte
    with pytest.raises(Malformed) as caught:
        wire.parse(wire.to_bytes(BUNDLE) + extra)
    assert caught.value.reason == "NOT_A_MESSAGE"


def test_fields_in_another_order_are_refused():
    message = wire.to_proto(BUNDLE)
    answer = pb.AnswerBundle(answer=message.answer).SerializeToString()
    message.ClearField("answer")
    with pytest.raises(Malformed) as caught:
        wire.parse(message.SerializeToString() + answer)
    assert caught.value.reason == "NOT_CANONICAL"


@pytest.mark.parametrize("data", [b"", b"\xff", b"not a bundle", b"\x0a\x05abc"])
def test_what_is_not_a_bundle_is_refused(data):
    with pytest.raises(CredproofError):
        WORLD.verify(wire.parse(data))


def test_a_truncated_bundle_is_refused_at_every_length():
    data = wire.to_bytes(BUNDLE)
    for size in range(0, len(data), 37):
        with pytest.raises(CredproofError):
            WORLD.verify(wire.parse(data[:size]))


def test_too_many_tokens_are_refused():
    message = wire.to_proto(BUNDLE)
    message.tokens.extend([message.tokens[0]] * 64)
    with pytest.raises(Malformed) as caught:
        wire.parse(message.SerializeToString(deterministic=True))
    assert caught.value.reason == "LIMIT_EXCEEDED"


def test_the_json_form_holds_the_same_members():
    assert BUNDLE.answer == json.loads(wire.to_json(BUNDLE))["answer"]
