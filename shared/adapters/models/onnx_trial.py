"""A program that loads a model from its standard input and runs it once, within limits; its last line is a verdict."""

from __future__ import annotations

import os
import sys

import msgspec
import numpy as np

from shared.adapters.confined import STARTED, confine
from shared.adapters.models.onnx_graph import ROWS, Graph
from shared.errors import ContractBroken


def main() -> None:
    """Try a model: the arguments are most MB of memory and most processor seconds."""
    confine(*map(int, sys.argv[1:3]))
    sys.stdout.buffer.write(STARTED)
    sys.stdout.buffer.flush()
    raw = sys.stdin.buffer.read()
    verdict: dict[str, str] = {}
    try:
        graph = Graph(raw)
        graph.run(np.zeros((ROWS, graph.width), np.float32))
    except ContractBroken as error:
        verdict = {"refused": str(error)}
    except MemoryError:
        verdict = {"refused": "model.onnx: needs more memory than it may have"}
    os.write(1, msgspec.json.encode(verdict) + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
