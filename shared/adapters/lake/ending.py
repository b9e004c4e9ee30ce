"""How a short program that has read the lake ends."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End the process with an exit code, in order: what was registered for the end, then all output.

    Threads of pyarrow and deltalake may still ask for the interpreter while it is taken down, and then the process ends
    by SIGABRT although all its work is done. So it is not taken down.
    """
    atexit._run_exitfuncs()  # noqa: SLF001 - the only way to run them
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
            stream.flush()
    os._exit(code)
