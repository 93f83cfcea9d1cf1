"""Which room a module is in, what it imports, and whether it may."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class House:
    """A package whose rooms lie in layers; a room may import itself and what lies below it."""

    package: str
    layers: tuple[frozenset[str], ...]
    """Lowest first; rooms of one layer may not import each other."""
    forbidden: Mapping[str, frozenset[str]]
    """Room -> modules of others that it may not import."""
    allowed_names: Mapping[str, Mapping[str, frozenset[str]]]
    """Room -> module of others -> the only names that it may take from there."""
    strangers: frozenset[str]
    """Packages that no room may import."""

    def level(self, room: str) -> int | None:
        """The height of a room; the package itself lies below all of them."""
        if not room:
            return -1
        return next((n for n, rooms in enumerate(self.layers) if room in rooms), None)


@dataclass(frozen=True)
class Import:
    """One imported name: `from module import name`, or `import module` without a name."""

    line: int
    module: str
    name: str = ""

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def imports(source: str, module: str, *, is_package: bool) -> Iterator[Import]:
    """Everything a module imports, wherever in it, with relative names made absolute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                own = module.split(".")
                kept = own[: len(own) - node.level + is_package]
                base = ".".join([*kept, base] if base else kept)
            for alias in node.names:
                yield Import(node.lineno, base, alias.name)


def violations(house: House, module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module imports and may not, each as `module:line: reason`."""
    room = room_of(house, module)
    level = house.level(room)
    if level is None:
        return [f"{module}: {room} is in no layer"]
    found = []
    for item in imports(source, module, is_package=is_package):
        reason = _own(house, room, level, item) or _others(house, room, item)
        if reason:
            found.append(f"{module}:{item.line}: {reason}")
    return found


def room_of(house: House, path: str) -> str:
    """The room of a dotted path inside the package; empty for the package's own names."""
    parts = path.split(".")
    assert parts[0] == house.package, f"{path} is not in {house.package}"
    return "" if len(parts) == 1 or parts[1].startswith("__") else parts[1]


def _own(house: House, room: str, level: int, item: Import) -> str:
    if item.module.split(".")[0] != house.package:
        return ""
    other = room_of(house, item.path)
    other_level = house.level(other)
    if other_level is None:
        return f"{other} is in no layer"
    if other == room or other_level < level:
        return ""
    return f"{room or house.package} may not import {other}"


def _others(house: House, room: str, item: Import) -> str:
    top = item.module.split(".")[0]
    if top in house.strangers:
        return f"{house.package} may not import {top}"
    if top in house.forbidden.get(room, frozenset()):
        return f"{room} may not import {top}"
    names = house.allowed_names.get(room, {}).get(top)
    if names is not None and item.name not in names:
        return f"{room} may not import {item.path}"
    return ""


def violations_below(folder: Path, house: House) -> list[str]:
    """The violations of every module of a package."""
    found = []
    for path in sorted((folder / house.package).rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        source = path.read_text("utf-8")
        found += violations(house, module, source, is_package=is_package)
    return found
