"""What stands in a log is printed, and steers no terminal."""

from __future__ import annotations

from credproof.cli.output import plain


def test_what_is_not_printable_is_not_printed():
    assert plain("NOT\x1b[2J_PERMITTED\n\u202e") == "NOT?[2J_PERMITTED??"
    assert plain("征信 ok") == "征信 ok"
