"""Rebuild the protobuf and gRPC stubs; `--check` says whether they are what proto/ makes."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PROTO: Final = ROOT / "proto"
OUTPUT: Final = ROOT / "client"
PACKAGE: Final = Path("credproof") / "v1"
BY_HAND: Final = "__init__.py"


def generate(target: Path) -> None:
    """Write the stubs of every file in proto/ below `target`."""
    plugins = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{plugins}{os.pathsep}{os.environ.get('PATH', '')}"}
    kinds = ("python", "grpc_python", "mypy", "mypy_grpc")
    sources = sorted(str(path.relative_to(PROTO)) for path in (PROTO / PACKAGE).glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I."]
    command += [f"--{kind}_out={target}" for kind in kinds]
    done = subprocess.run(
        command + sources,
        cwd=PROTO,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"proto: {done.stderr.strip()}")


def stubs(folder: Path) -> dict[str, bytes]:
    """The generated files of a folder, by name."""
    paths = (folder / PACKAGE).glob("*.py*")
    return {path.name: path.read_bytes() for path in paths if path.name != BY_HAND}


def differences(found: dict[str, bytes], made: dict[str, bytes]) -> list[str]:
    """The names of files that are missing, superfluous or different."""
    return sorted(name for name in found.keys() | made.keys() if found.get(name) != made.get(name))


def main() -> int:
    """Rebuild, or compare with what rebuilding would give."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        made = stubs(Path(folder))
    changed = differences(stubs(OUTPUT), made)
    for name in changed:
        path = OUTPUT / PACKAGE / name
        if options.check:
            print(f"{path.relative_to(ROOT)}: not what proto/ makes: run make proto")
        elif name in made:
            path.write_bytes(made[name])
        else:
            path.unlink()
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
