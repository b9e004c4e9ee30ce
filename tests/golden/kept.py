"""The golden files in tests/golden/before: what stands where, how they are read, and with what they were written."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import zlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.schema import COMMITS, OUTCOMES, PREDICTIONS, READINGS, TABLES
from shared.core.stream.events import Event
from tests.golden.stories import Blobs, Hubs

BEFORE = Path(__file__).parent / "before"
SINCE = Path(__file__).parent / "since"  # what is written otherwise since then
PACKED = (".state", ".html", ".npz", ".parquet")  # kept compressed, but for the lake, which is a real folder
LIBRARIES = ("numpy", "pyarrow", "deltalake", "msgspec", "onnxruntime", "catboost", "scipy")
KEYS = {
    READINGS: ("partition", "epoch", "sequence_number", "position"),
    PREDICTIONS: ("device_id", "as_of", "role", "revision"),
    OUTCOMES: ("device_id", "as_of", "role"),
    COMMITS: ("name",),
}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, raw in files.items():
        place = folder / (f"{name}.gz" if name.endswith(PACKED) else name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(gzip.compress(raw, mtime=0) if name.endswith(PACKED) else raw)


def read(folder: Path) -> dict[str, bytes]:
    """All files below a folder by their path in it."""
    found = {}
    for place in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, raw = place.relative_to(folder).as_posix(), place.read_bytes()
        found[name.removesuffix(".gz")] = gzip.decompress(raw) if name.endswith(".gz") else raw
    return found


def blobs(story: str, folder: Path = BEFORE) -> Blobs:
    """The blobs that a story left."""
    found = Blobs()
    for path, raw in read(folder / story / "blobs").items():
        container, _, name = path.partition("/")
        found[container, name] = raw
    return found


def hubs(story: str, folder: Path = BEFORE) -> Hubs:
    """The events that a story sent, by hub, partition and epoch."""
    return {
        name.removesuffix(".msgpack"): [Event(*event) for event in msgspec.msgpack.decode(raw)]
        for name, raw in read(folder / story / "hubs").items()
    }


def packed(events: list[Event]) -> bytes:
    """Events as a file."""
    return msgspec.msgpack.encode([(e.sequence, e.enqueued_ms, e.body, e.identity) for e in events])


def lake_digests(lake: DeltaLake) -> dict[str, dict[str, Any]]:
    """How many rows every table of a lake has, and a digest of every column."""
    return {table: table_digests(lake, table) for table in TABLES}


def table_digests(lake: DeltaLake, table: str, at: int | None = None) -> dict[str, Any]:
    """The same of one table, perhaps at a version; its rows in the order of their keys."""
    view = lake.delta.opened(table, at)
    rows = [] if view is None else pa.concat_tables([*view.read()], promote_options="default").to_pylist()
    rows.sort(key=lambda row: [str(row[name]) for name in KEYS[table]])
    columns = {name: "\n".join(str(row[name]) for row in rows) for name in sorted(rows[0] if rows else {})}
    return {"rows": len(rows), **{name: _digest(text) for name, text in columns.items()}}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def tools() -> dict[str, str]:
    """What bytes may depend on besides this repository."""
    found = {name: version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION, **found, "floats": floats()}


def floats() -> str:
    """A digest of what this machine's numpy makes of exponentials, logarithms and fused sums in float32."""
    x = np.linspace(0.01, 9, 4096, dtype=np.float32)
    parts = (np.exp(x), np.log(x), np.einsum("ij,ij->j", x.reshape(64, 64), x.reshape(64, 64)))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


@cache
def written_with() -> dict[str, str]:
    """`tools` when the golden files were written."""
    found: dict[str, str] = json.loads((BEFORE / "written_with.json").read_text("utf-8"))
    return found


def same(*names: str) -> bool:
    """Whether these tools are the ones the golden files were written with: only then bytes must be equal."""
    then, now = written_with(), tools()
    return all(then[name] == now[name] for name in names)
