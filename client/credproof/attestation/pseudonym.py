"""Pseudonyms: what stands for a borrower, computed without showing the id to anybody.

`sub` is a tagged hash of the OPRF output for the id, under a key whose shares the service and
its custodians hold (`docs/PROTOCOL.md`, "Pseudonym").
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from credproof.attestation.oprf_key import Evaluation, OprfKey
from credproof.base import oprf
from credproof.base.encoding import tagged, tagged_hash
from credproof.base.errors import Malformed
from credproof.base.limits import SUBJECT_ID_CHARS_MAX

_REF = re.compile(rf"[A-Za-z0-9._-]{{1,{SUBJECT_ID_CHARS_MAX}}}\Z")
_CN_ID = re.compile(r"[1-9][0-9]{16}[0-9X]\Z")
_CN_WEIGHTS = tuple(pow(2, 17 - i, 11) for i in range(17))
_CN_CHECK = "10X98765432"
_USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC = re.compile(rf"[{_USCC_ALPHABET}]{{18}}\Z")
_USCC_WEIGHTS = tuple(pow(3, i, 31) for i in range(17))


@dataclass(frozen=True, slots=True)
class SubjectId:
    """An id of a borrower: `cn-id` (GB 11643), `uscc` (GB 32100) or an opaque `ref`.

    Its repr hides the value, so that no log or traceback shows it.
    """

    scheme: str
    value: str = field(repr=False)

    @property
    def input(self) -> bytes:
        """What goes into the OPRF."""
        return tagged("subject", self.scheme.encode(), self.value.encode())

    def to_text(self) -> str:
        """`scheme:value`."""
        return f"{self.scheme}:{self.value}"


def parse_subject_id(text: str) -> SubjectId:
    """The id written `scheme:value`, its check digit verified.

    Raises:
        Malformed: `BAD_SUBJECT_ID`; the text never holds the value.
    """
    scheme, _, value = text.partition(":")
    if scheme not in _SCHEMES or not _SCHEMES[scheme](value):
        raise Malformed(
            "BAD_SUBJECT_ID", "not an id of the form scheme:value with a right check digit"
        )
    return SubjectId(scheme, value)


def _is_cn_id(value: str) -> bool:
    """18 digits: region, birth date, serial, and the check digit of ISO 7064 MOD 11-2."""
    if not _CN_ID.match(value):
        return False
    try:
        dt.date(int(value[6:10]), int(value[10:12]), int(value[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(value, _CN_WEIGHTS, strict=False))
    return _CN_CHECK[total % 11] == value[17]


def _is_uscc(value: str) -> bool:
    if not _USCC.match(value):
        return False
    numbers = [_USCC_ALPHABET.index(character) for character in value]
    total = sum(n * weight for n, weight in zip(numbers, _USCC_WEIGHTS, strict=False))
    return (31 - total % 31) % 31 == numbers[17]


def _is_ref(value: str) -> bool:
    return _REF.match(value) is not None


_SCHEMES: Mapping[str, Callable[[str], bool]] = {
    "cn-id": _is_cn_id,
    "uscc": _is_uscc,
    "ref": _is_ref,
}
ID_SCHEMES = tuple(_SCHEMES)
"""The schemes of ids: a schema says which of them its attestations are about."""


def pseudonym(subject: SubjectId, key_id: str, blind: bytes, evaluated: bytes) -> bytes:
    """`sub`, 32 bytes, from an evaluated element whose proofs are verified already."""
    output = oprf.finalize(subject.input, blind, evaluated)
    return tagged_hash("sub", key_id.encode(), output)


@dataclass(frozen=True, slots=True)
class Blinded:
    """A batch of ids on its way: what was blinded, with which scalars (32 bytes each)."""

    subjects: tuple[SubjectId, ...]
    blinds: tuple[bytes, ...] = field(repr=False)
    elements: tuple[bytes, ...]

    def finish(self, evaluations: Sequence[Evaluation], key: OprfKey) -> tuple[bytes, ...]:
        """The pseudonyms, once every holder of the key has evaluated the elements.

        Raises:
            Malformed, VerificationFailed: as `OprfKey.combine`.
        """
        evaluated = key.combine(self.elements, evaluations)
        triples = zip(self.subjects, self.blinds, evaluated, strict=True)
        return tuple(pseudonym(subject, key.id, r, element) for subject, r, element in triples)


def begin(subjects: Sequence[SubjectId], blinds: Sequence[bytes]) -> Blinded:
    """Blind ids, each with a fresh random scalar."""
    pairs = zip(subjects, blinds, strict=True)
    elements = tuple(oprf.blind(subject.input, r) for subject, r in pairs)
    return Blinded(tuple(subjects), tuple(blinds), elements)


@dataclass(frozen=True, slots=True)
class Part:
    """One holder's part in a transcript: its evaluated element and the proof over it alone."""

    evaluated_element: bytes
    proof: bytes


@dataclass(frozen=True, slots=True)
class Transcript:
    """What shows, years later, that a pseudonym follows from an id under a pinned key.

    It holds the id in clear: it stays with the lender, who knows the borrower anyway. Its parts
    are in the order of the key's shares.
    """

    subject_id: str = field(repr=False)
    key_id: str
    blind: bytes = field(repr=False)
    parts: tuple[Part, ...]


def verify_transcript(transcript: Transcript, key: OprfKey) -> bytes:
    """The `sub` that the transcript proves under an OPRF key, each share by its own proof.

    Raises:
        Malformed: `BAD_SUBJECT_ID`, `BAD_SCALAR`, `BAD_ELEMENT`.
        VerificationFailed: `BAD_DLEQ_PROOF`, naming the holder.
    """
    subject = parse_subject_id(transcript.subject_id)
    blinded = begin([subject], [transcript.blind])
    parts = [Evaluation((part.evaluated_element,), part.proof) for part in transcript.parts]
    return blinded.finish(parts, key)[0]
