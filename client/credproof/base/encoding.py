"""Strict encodings: every value has one spelling, and all others are refused.

Sources: RFC 4648 (base64), RFC 8785 (canonical JSON, here with integers only),
RFC 7493 (I-JSON), `docs/PROTOCOL.md` section 1 (tagged hashes, frames).
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn, TypeAlias

import orjson

from credproof.base.errors import Malformed
from credproof.base.limits import INTEGER_MAX, JSON_DEPTH_MAX

Json: TypeAlias = None | bool | int | str | Sequence["Json"] | Mapping[str, "Json"]
"""What canonical JSON can hold: no floats."""

TAG_PREFIX = "credproof/v1/"
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
"""Into the alphabet that the strict decoder reads; what base64url does not have becomes NUL."""
_LAST = {0: None, 1: "", 2: "AQgw", 3: "AEIMQUYcgkosw048"}
"""The last characters whose slack bits are zero, by the length modulo four."""
DAY_S = 86_400
TIME_MAX = 253_402_300_799
"""The last second of the year 9999: the last one that has a date."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


# -- base64 -------------------------------------------------------------------


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=").decode("ascii")


def parse_b64url(text: str, *, size: int | None = None) -> bytes:
    """The bytes of unpadded base64url, `size` of them if given.

    Raises:
        Malformed: `NOT_BASE64URL` for other characters, padding or slack bits that are not
            zero; `WRONG_LENGTH` for another number of bytes.
    """
    last = _LAST[len(text) % 4]
    if last is not None and text[-1] not in last:
        raise Malformed("NOT_BASE64URL", "base64url of no whole bytes, or with slack bits")
    try:
        spelled = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
        data = binascii.a2b_base64(spelled, strict_mode=True)
    except ValueError as error:
        raise Malformed("NOT_BASE64URL", "not unpadded base64url") from error
    return _sized(data, size)


def b64(data: bytes) -> str:
    """Standard base64 with padding, as C2SP notes use it."""
    return base64.b64encode(data).decode("ascii")


def parse_b64(text: str, *, size: int | None = None) -> bytes:
    """The bytes of padded standard base64, `size` of them if given.

    Raises:
        Malformed: `NOT_BASE64` for any other spelling; `WRONG_LENGTH`.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Malformed("NOT_BASE64", "not padded base64") from error
    if b64(data) != text:
        raise Malformed("NOT_BASE64", "base64 with slack bits that are not zero")
    return _sized(data, size)


def _sized(data: bytes, size: int | None) -> bytes:
    if size is not None and len(data) != size:
        raise Malformed("WRONG_LENGTH", f"expected {size} bytes, got {len(data)}")
    return data


# -- JSON ---------------------------------------------------------------------


def canonical_json(value: Json) -> bytes:
    """RFC 8785 bytes of a value made of strings, integers, booleans, null, lists and objects.

    Keys must be ASCII: then the order of code points, UTF-16 code units and bytes is one.

    Raises:
        Malformed: `NOT_JSON` for a float, an integer of 2**53 or more, a key that is not
            ASCII text, or text that is not Unicode.
    """
    _check_json(value)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise Malformed("NOT_JSON", "text with a lone surrogate, or nested too deeply") from error


def parse_json(data: bytes) -> Any:
    """The value of canonical JSON bytes; any second spelling is refused.

    Raises:
        Malformed: `NOT_JSON` when it does not parse or `canonical_json` has no form for it,
            `NOT_CANONICAL` for another spelling; a key that comes twice is one.
    """
    value = parse_own_json(data)
    _require_shallow(data, value)
    if canonical_json(value) != data:
        raise Malformed("NOT_CANONICAL", "JSON is not in canonical form (RFC 8785)")
    return value


def parse_own_json(data: bytes) -> Any:
    """The value of JSON that we wrote ourselves and that comes back authenticated.

    Its spelling is not looked at: never for what comes from outside.

    Raises:
        Malformed: `NOT_JSON`.
    """
    try:
        return orjson.loads(data)
    except ValueError as error:
        raise Malformed("NOT_JSON", "not JSON") from error


def parse_loose_json(data: bytes) -> Any:
    """The value of JSON bytes in any spelling: no float, no key twice, no lone surrogate.

    For what others wrote (other people's SD-JWTs, files of a provider).

    Raises:
        Malformed: `NOT_JSON`.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
        if b"\\u" in data:
            orjson.loads(data)  # refuses half a character, which no text can hold
    except (ValueError, RecursionError) as error:
        raise Malformed(
            "NOT_JSON", "not JSON with whole texts, integers only and unique keys"
        ) from error
    _require_shallow(data, value)
    return value


def _require_shallow(data: bytes, value: Any) -> None:
    """Refuse JSON that is nested more deeply than any format of ours: recursion ends in crashes."""
    if data.count(b"[") + data.count(b"{") <= JSON_DEPTH_MAX:
        return
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(JSON_DEPTH_MAX):
        inner = [item.values() if isinstance(item, dict) else item for item in level]
        level = [m for members in inner for m in members if isinstance(m, dict | list)]
        if not level:
            return
    raise Malformed("NOT_JSON", "JSON is nested too deeply")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate key")
    return members


def _integer(text: str) -> int:
    if len(text) > 17 or abs(value := int(text)) > INTEGER_MAX:
        raise ValueError("integer of 2**53 or more")
    return value


def _no_float(_text: str) -> NoReturn:
    raise ValueError("not an integer")


def _check_json(value: Json) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int:
        if abs(value) > INTEGER_MAX:  # type: ignore[arg-type]
            raise Malformed("NOT_JSON", "integer of 2**53 or more")
    elif isinstance(value, dict):
        for key, member in value.items():
            if type(key) is not str or not key.isascii():
                raise Malformed("NOT_JSON", "object key is not ASCII text")
            if type(member) is not str:  # most are: saves the call
                _check_json(member)
    elif isinstance(value, list | tuple):
        for item in value:
            if type(item) is not str:
                _check_json(item)
    else:
        raise Malformed("NOT_JSON", "value has no canonical JSON form")


# -- hashes and frames --------------------------------------------------------


def frame(parts: Iterable[bytes]) -> bytes:
    """The parts, each after its length as a 32-bit big-endian integer: no two lists collide."""
    return b"".join([len(part).to_bytes(4, "big") + part for part in parts])


def parse_frame(data: bytes) -> list[bytes]:
    """The parts of `frame`.

    Raises:
        Malformed: `BAD_FRAME` when a length does not fit the rest.
    """
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if at + 4 > len(data) or end > len(data):
            raise Malformed("BAD_FRAME", "length prefix does not fit the data")
        parts.append(data[at + 4 : end])
        at = end
    return parts


def tagged(tag: str, *parts: bytes) -> bytes:
    """The domain tag and the parts, each length-prefixed: what is hashed, signed or MACed."""
    return _tag(tag) + frame(parts)


@cache
def _tag(tag: str) -> bytes:
    return frame((f"{TAG_PREFIX}{tag}".encode("ascii"),))


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """SHA-256 of `tagged`, 32 bytes."""
    return hashlib.sha256(tagged(tag, *parts)).digest()


# -- dates --------------------------------------------------------------------


def parse_date(text: str) -> dt.date:
    """A calendar date written YYYY-MM-DD (RFC 3339 full-date).

    Raises:
        Malformed: `NOT_A_DATE`.
    """
    if not _DATE.match(text):
        raise Malformed("NOT_A_DATE", "not a date of the form YYYY-MM-DD")
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise Malformed("NOT_A_DATE", "no such day") from error


def date_of(time: int) -> dt.date:
    """The UTC day of a time in whole seconds since 1970."""
    return dt.datetime.fromtimestamp(time, dt.UTC).date()


def time_text(time: int) -> str:
    """A time in whole seconds since 1970 as people read it, in UTC; seconds beyond the calendar."""
    if not 0 <= time <= TIME_MAX:
        return f"{time} s"
    return dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
