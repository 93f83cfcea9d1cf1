"""What work says of itself while it goes on: a bar on a terminal, few plain lines elsewhere."""

from __future__ import annotations

import io

import pytest
from credproof.cli import output
from rich.console import Console


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(output.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch) -> Clock:
    return Clock(monkeypatch)


def test_nothing_goes_to_a_pipe_where_work_is_soon_done(capsys, clock):
    with output.progress_bar("attesting", 3) as advance:
        for _ in range(3):
            clock.now += output.PROGRESS_LINE_S / 4
            advance(1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("total", "told"), [(100, "of 100"), (None, "so far")])
def test_long_work_says_a_plain_line_now_and_then(capsys, clock, total, told):
    with output.progress_bar("attesting", total) as advance:
        for _ in range(100):
            clock.now += output.PROGRESS_LINE_S / 40
            advance(1)
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [f"attesting: 40 {told}", f"attesting: 80 {told}"]


def test_where_nothing_but_json_is_wanted_nothing_is_said(capsys, clock):
    with output.progress_bar("attesting", None, hidden=True) as advance:
        clock.now += 2 * output.PROGRESS_LINE_S
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch):
    terminal = io.StringIO()
    shown = Console(file=terminal, force_terminal=True, force_interactive=True)
    monkeypatch.setattr(output, "err", shown)
    with output.progress_bar("attesting", 2) as advance:
        advance(2)
    assert "attesting" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
