"""What a copy of a service holds, and how its files and databases are handled."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from credproof_server.directory import DATABASES, METADATA, OPERATOR, ServiceDirectory
from credproof_server.storage import engine as engines

LOG_FILE: Final = DATABASES[engines.MAIN]
VAULT_FILE: Final = DATABASES[engines.VAULT]
FOLDERS: Final = ("keys", "tls", OPERATOR, METADATA)
"""Folders of a service's directory that are copied file by file; one may not be there."""
ASIDE: Final = "replaced-"
"""How the folder begins that holds what a restore replaced."""


@contextmanager
def opened(directory: ServiceDirectory, store: str) -> Iterator[Engine]:
    """A store of a service.

    Raises:
        DataLoss: `DATABASE_MISSING`, `DATABASE_DAMAGED`.
    """
    engine = directory.engine(store)
    try:
        with engines.readable():
            yield engine
    finally:
        engine.dispose()


@contextmanager
def opened_file(path: Path) -> Iterator[Engine]:
    """A database outside a service's directory; a new one where there is none."""
    engine = engines.connect(engines.sqlite_url(path))
    try:
        yield engine
    finally:
        engine.dispose()


def folders_in(folder: Path) -> list[str]:
    """Those of `FOLDERS` that are there."""
    return [name for name in FOLDERS if (folder / name).is_dir()]


def keep_private(folder: Path) -> None:
    """Only the owner reads a copy, and it is on disk when this returns."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def new_aside(folder: Path) -> Path:
    """An empty folder for what a restore replaces."""
    prefix = time.strftime(f"{ASIDE}%Y%m%dT%H%M%SZ-", time.gmtime())
    return Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
