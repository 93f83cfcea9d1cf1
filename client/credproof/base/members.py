"""Strict reading of JSON objects: every member named, typed and accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from credproof.base.encoding import parse_b64url
from credproof.base.errors import Malformed

T = TypeVar("T")


class Members:
    """The members of one JSON object; `finish` refuses what nobody asked for.

    All methods raise `Malformed` with reason `BAD_MEMBER` and the member's name.
    """

    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, Mapping):
            raise Malformed("BAD_MEMBER", f"{what} is not an object")
        self._left = dict(value)
        self._what = what

    @property
    def what(self) -> str:
        """What the object is, for messages."""
        return self._what

    def take(self, name: str, kind: type[T]) -> T:
        """The member `name`, which must be there and of exactly this type."""
        if name not in self._left:
            raise Malformed("BAD_MEMBER", f"{self._what} lacks {name}")
        value = self._left.pop(name)
        if type(value) is not kind:
            raise Malformed("BAD_MEMBER", f"{self._what}: {name} is not of type {kind.__name__}")
        return value

    def take_any(self, name: str) -> Any:
        """The member `name`, of whatever type."""
        if name not in self._left:
            raise Malformed("BAD_MEMBER", f"{self._what} lacks {name}")
        return self._left.pop(name)

    def nullable(self, name: str, kind: type[T]) -> T | None:
        """The member `name`, which must be there but may be null."""
        if name in self._left and self._left[name] is None:
            return self._left.pop(name)  # type: ignore[no-any-return]
        return self.take(name, kind)

    def optional(self, name: str, kind: type[T]) -> T | None:
        """The member `name` or None when it is absent or null."""
        if self._left.get(name) is None:
            self._left.pop(name, None)
            return None
        return self.take(name, kind)

    def bytes(self, name: str, size: int | None = None) -> bytes:
        """The member `name`, base64url of `size` bytes."""
        return parse_b64url(self.take(name, str), size=size)

    def strings(self, name: str) -> tuple[str, ...]:
        """The member `name`, a list of texts."""
        values = self.take(name, list)
        if not all(isinstance(value, str) for value in values):
            raise Malformed("BAD_MEMBER", f"{self._what}: {name} is not a list of texts")
        return tuple(values)

    def finish(self) -> None:
        """Refuse members that were not taken."""
        if self._left:
            raise Malformed(
                "BAD_MEMBER", f"{self._what} has the unknown member {min(self._left)!r}"
            )
