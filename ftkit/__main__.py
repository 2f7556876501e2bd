"""`python -m ftkit`, and the script `ftkit`."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Run the command line; Ctrl-C while its libraries come in ends the process with one line and its exit code."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from ftkit.cli.app import main as run

    try:
        run()
    finally:
        # what was asked is done or refused, and the process ends with the exit code of that
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)


def _leave(signum: int, _frame: object) -> None:
    """Nothing was begun, so there is nothing to undo."""
    os.write(2, b"stopped by SIGINT\n")
    os._exit(128 + signum)


if __name__ == "__main__":
    main()
