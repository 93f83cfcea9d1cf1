"""Pseudonyms: ids with check digits, never shown, and transcripts that hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.attestation.oprf_key import OprfKey, Share
from credproof.attestation.pseudonym import (
    begin,
    parse_subject_id,
    pseudonym,
    verify_transcript,
)
from credproof.base import oprf
from credproof.base.errors import CredproofError, Malformed
from credproof.base.group import scalar_from

from tests.world import World, seed_of

WORLD = World()
CN_ID = "11010519491231002X"
"""The example of GB 11643."""


def uscc(head: str) -> str:
    alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    total = sum(alphabet.index(c) * pow(3, i, 31) for i, c in enumerate(head))
    return head + alphabet[-total % 31]


@pytest.mark.parametrize(
    "text", [f"cn-id:{CN_ID}", f"uscc:{uscc('91350100M000100Y4')}", "ref:a.B-9_"]
)
def test_good_ids_are_read(text):
    assert text == parse_subject_id(text).to_text()


@pytest.mark.parametrize(
    "text",
    [
        "cn-id:110105194912310021",
        "cn-id:11010519491231002x",
        "cn-id:110105194913310026",
        "cn-id:1101051949123100",
        "cn-id:１１０１０５１９４９１２３１００２X",
        "uscc:91350100M000100Y44",
        "uscc:I1350100M000100Y43",
        "ref:",
        "ref:with space",
        "ref:" + "x" * 65,
        "ref:a\n",
        "phone:13800000000",
        "110105",
        "",
    ],
)
def test_bad_ids_are_refused_and_not_repeated(text):
    with pytest.raises(Malformed) as caught:
        parse_subject_id(text)
    assert caught.value.reason == "BAD_SUBJECT_ID"
    value = text.partition(":")[2]
    assert not value or value not in str(caught.value)


def test_no_repr_shows_an_id():
    subject = parse_subject_id(f"cn-id:{CN_ID}")
    _, transcript = WORLD.identify(f"cn-id:{CN_ID}")
    blinded = begin([subject], [transcript.blind])
    for shown in (repr(subject), repr(transcript), repr(blinded), repr([subject])):
        assert CN_ID not in shown


def test_the_pseudonym_does_not_depend_on_the_blind():
    one, _ = WORLD.identify("ref:a")
    subject = parse_subject_id("ref:a")
    blind = scalar_from(seed_of("another blind", 64))
    blinded = begin([subject], [blind])
    (evaluated,) = oprf.evaluate(WORLD.oprf_secrets[0], blinded.elements)
    assert one == pseudonym(subject, WORLD.oprf_key.id, blind, evaluated)


def test_ids_of_different_schemes_never_meet():
    one, _ = WORLD.identify(f"cn-id:{CN_ID}")
    two, _ = WORLD.identify(f"ref:{CN_ID}")
    assert one != two


def test_a_transcript_gives_its_pseudonym():
    sub, transcript = WORLD.identify("ref:a")
    assert sub == verify_transcript(transcript, WORLD.oprf_key)


@pytest.mark.parametrize("change", ["subject_id", "blind", "parts", "key"])
def test_a_bent_transcript_is_refused(change):
    _, transcript = WORLD.identify("ref:a")
    _, other = WORLD.identify("ref:b")
    key = WORLD.oprf_key
    if change == "key":
        key = OprfKey((Share(oprf.public_key(scalar_from(seed_of("another key", 64)))),))
    else:
        transcript = replace(transcript, **{change: getattr(other, change)})
    with pytest.raises(CredproofError):
        verify_transcript(transcript, key)
