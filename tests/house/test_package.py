"""The package is what it says it is."""

from __future__ import annotations

import tomllib
from pathlib import Path

import credproof
from credproof import standard

ROOT = Path(__file__).parent.parent.parent


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == credproof.__version__


def test_both_packages_are_typed():
    for folder in ("client/credproof", "server/credproof_server"):
        assert (ROOT / folder / "py.typed").is_file()


def test_the_example_mapping_is_the_shipped_one():
    assert (ROOT / "examples" / "uci.mapping.yaml").read_bytes() == standard.read(
        "uci.mapping.yaml"
    )
