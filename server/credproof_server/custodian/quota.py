"""What each participant may ask of a custodian in a day: counted before the work, on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from credproof.base.errors import DataLoss

from credproof_server.service.pseudonyms import require_quota
from credproof_server.storage import engine as engines
from credproof_server.storage.engine import usable
from credproof_server.storage.evaluations import add_evaluations
from credproof_server.storage.tables import evaluations

ALL: Final = ""
"""The row of all participants together: nobody has an empty id."""


class QuotaBook:
    """Counts of evaluations in a SQLite file of their own. Safe to share between threads.

    Raises:
        DataLoss: `QUOTA_DAMAGED`.
    """

    def __init__(self, path: Path) -> None:
        self._engine = engines.connect(engines.sqlite_url(path))
        try:
            with usable(), self._engine.begin() as connection:
                evaluations.create(connection, checkfirst=True)
        except DataLoss as error:
            message = f"{path.name} cannot be read: put it aside, and the day's counts begin anew"
            raise DataLoss("QUOTA_DAMAGED", message) from error

    def count(self, participant: str, day: str, count: int, *, quota: int, total: int) -> None:
        """Count evaluations of a day (`YYYY-MM-DD`, UTC); on disk when it returns.

        `quota` is the participant's, `total` that of all together: whoever admits participants
        could invent any number of them.

        Raises:
            Refused: `QUOTA_REACHED`; then nothing is counted.
            Unreachable, DataLoss: as `usable`.
        """
        with usable(), self._engine.begin() as connection:
            for name, most in ((participant, quota), (ALL, total)):
                require_quota(add_evaluations(connection, name, day, count), most)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
