"""Lets this Python's worker index apps, each in a process of its own: the vendor's runtime has one registry a process.

`python -m tests.contract.host.judge FOLDER...` prints one JSON object a folder: its functions, or why it has none.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from local.host.functions import HostError, declare
from local.host.worker.start import start


def judge(app_dir: Path) -> dict[str, Any]:
    """Functions of an app and what the host lacks to drive them, or the refusal."""
    try:
        return {"functions": {each.name: each.missing for each in declare(start(app_dir).functions)}}
    except HostError as error:
        return {"refused": str(error)}


def main() -> None:
    """Judge each folder in a fork, so that what was imported until here is imported once."""
    start_all()
    for folder in sys.argv[1:]:
        if not (pid := os.fork()):
            sys.stdout.write(json.dumps(judge(Path(folder))) + "\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)


def start_all() -> None:
    """Import what every app needs."""
    import azure.functions

    assert azure.functions
    if sys.version_info >= (3, 13):
        import azure_functions_runtime.native_invocation

        assert azure_functions_runtime


if __name__ == "__main__":
    main()
