"""Having the directory's root follow the log, and saying so when it cannot."""

from __future__ import annotations

from credproof.base.errors import CredproofError

from credproof_server.log.epochs import CloseEpoch
from credproof_server.service.core import Core


class Epochs:
    """Closes an epoch whenever there is news."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.fault: str | None = None
        """Why the newest root does not follow: the reason of the last attempt."""

    async def close(self) -> None:
        """Close one if there is news; what fails now is tried the next time."""
        self.fault = await self._attempt()

    async def _attempt(self) -> str | None:
        if not self._core.sequencer.state.directory.pending:
            return None
        try:
            await self._core.commit(CloseEpoch())
        except CredproofError as error:
            return error.reason
        return None
