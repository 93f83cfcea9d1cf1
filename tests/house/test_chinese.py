"""Chinese texts use the marks of Chinese: full-width brackets, commas and colons."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PLACES = ("client/credproof", "server/credproof_server")
SUFFIXES = {".py", ".yaml", ".json", ".html", ".js"}
HAN = "[\\u4e00-\\u9fff]"
HALF_WIDTH = re.compile(rf"{HAN}[(,;:!?]|[(,;:]{HAN}|{HAN}[)]")


def test_no_text_mixes_half_width_marks_into_chinese():
    paths = [path for place in PLACES for path in (ROOT / place).rglob("*")]
    read = {path: path.read_text("utf-8") for path in paths if path.suffix in SUFFIXES}
    assert len(read) > 100
    found = [
        (path.name, hit[0]) for path, text in read.items() for hit in HALF_WIDTH.finditer(text)
    ]
    assert found == []


def test_a_half_width_bracket_is_seen():
    assert HALF_WIDTH.search("账龄(月)")
    assert not HALF_WIDTH.search("账龄（月） (months)")
