"""All benchmarks, one after the other, each in a process of its own: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.timing import machine

PROJECT = Path(__file__).resolve().parents[1]
TITLES = {
    "features": "features of 1,000 windows: ours, NumPy, pandas",
    "scoring": "a model's answer: ours, CatBoost, ONNX Runtime's tree node, mlflow.pyfunc",
    "tables": "reading and checking files and messages",
    "pipeline": "the pipeline in one process",
    "files": "a large file through the local stack, and through a plain script",
    "messages": "decoding and checking messages: ours, pydantic, json and hand checks",
    "stream": "devices' messages to forecasts on the local stack, and the bare client that only receives them",
    "state": "10,000 devices in one partition: memory, snapshot, recovery",
    "drift": "the drift check: ours on profiles, SciPy and evidently on raw values",
    "training_set": "rows to learn from: ours, pandas' rolling windows",
    "endpoint": "the azure-eventhub client on the local endpoint",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks, without names all; returns 1 when one failed, after the others have run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed, side by side in one run.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(TITLES)}")
    names = parser.parse_args(arguments).names or list(TITLES)
    if unknown := set(names) - set(TITLES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    print(machine(), flush=True)
    begun, failed = time.monotonic(), []
    for name in names:
        print(f"\n== {name}: {TITLES[name]}", flush=True)
        command = [sys.executable, "-u", "-m", f"benchmarks.bench_{name}"]
        if subprocess.run(command, cwd=PROJECT, check=False).returncode:  # noqa: S603 - our own modules
            failed.append(name)
    print(f"\n{time.monotonic() - begun:.0f} s" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
