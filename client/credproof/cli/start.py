"""Where the `credproof` script begins: Ctrl-C ends it quietly even while the rest is loaded."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own lines would stand before our errors


def main() -> None:
    """Load the command line and run it.

    While modules load, an exception at any line of them would be a traceback: the signal ends the
    process instead. From then on `credproof.cli.app` tells, and `parts` while it loads.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from credproof.cli.app import main as run  # noqa: PLC0415 - this takes a while

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
