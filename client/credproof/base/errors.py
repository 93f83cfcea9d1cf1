"""Every error that credproof raises on purpose.

One class per thing that the caller would do differently; `reason` is stable and
in UPPER_SNAKE, the text is for people. Neither ever holds an identity, a figure
or a secret.

    CredproofError
    ├── Malformed            the bytes do not parse: fix the input
    │   └── LimitExceeded    a named limit is passed: send less
    ├── VerificationFailed   it parses, but does not prove what it says: do not use it
    ├── Refused              the service will not do this for this caller: ask for the right
    ├── Conflict             the state speaks against it: read the state, then decide
    ├── DataLoss             stored data is damaged: call the operator
    ├── Unreachable          no answer from the other side: try again later
    └── Internal             a fault in credproof itself: report the ref
"""

from __future__ import annotations

from types import TracebackType
from typing import Any


class CredproofError(Exception):
    """The root of the tree; never raised itself.

    `step` names the numbered check that failed, where there is one (`docs/PROTOCOL.md`).
    """

    def __init__(self, reason: str, message: str, *, step: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.step = step

    def __reduce__(self) -> tuple[Any, ...]:
        """So that an error of another process arrives as it was raised there."""
        return type(self), (self.reason, self.message), {"step": self.step}

    def at_step(self, step: int) -> None:
        """Mark the numbered check that found it; the innermost mark stays."""
        if self.step is None:
            self.step = step


class Malformed(CredproofError):
    """Bytes that do not parse, or parse only by a second spelling."""


class LimitExceeded(Malformed):
    """More, longer or larger than a limit of `credproof.base.limits` allows."""


class VerificationFailed(CredproofError):
    """Well-formed, but it does not prove what it says."""


NOT_ACTIVE = "the caller is not an active participant"
"""What NOT_PERMITTED says to somebody who is suspended, or whom the registry does not name."""


class Refused(CredproofError):
    """The service will not do this for this caller."""


class Conflict(CredproofError):
    """The present state speaks against it."""


class DataLoss(CredproofError):
    """Stored data does not decrypt, or differs from what was logged."""


class Unreachable(CredproofError):
    """The other side gave no answer in time."""


class Internal(CredproofError):
    """A fault in credproof itself; nothing more about it is told."""


class step:  # noqa: N801 - it reads as what it is: `with step(3):`
    """Mark whatever fails inside as found by the numbered check `number`."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if isinstance(error, CredproofError):
            error.at_step(self._number)
