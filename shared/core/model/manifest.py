"""The model package: what a trained model says of itself, and the floor it had to beat."""

from __future__ import annotations

import io
import math
import re
import threading
import zipfile
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from shared.core.intake.readings import Floats
from shared.errors import ContractBroken
from shared.validation import decoded

FORMAT = 1
FILES = ("model.onnx", "baseline.npz", "golden.npz", "card.md")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
MAXIMUM_UNPACKED_BYTES = 200_000_000
MAXIMUM_ARRAYS = 1000
_ENTRY = b"PK\x01\x02"  # begins each entry of a zip file's directory
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others inflate more than they are asked for
# numpy reads a header with ast.literal_eval; in CPython 3.11 that may end in a SystemError ("AST constructor recursion
# depth mismatch", python/cpython issue 106905) when several threads are in it at once, as in the host's pool
_ONE_AT_A_TIME = threading.Lock()

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


class Interval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Offsets added to a forecast, by the band the forecast falls into; from out-of-fold errors.

    Args:
        nominal: Share of truths that lower..upper should cover.
        edges: Inner edges between bands of the forecast, rising, length bands - 1.
        lower: Offset (target units, usually negative) of the lower end, length bands.
        upper: Offset of the upper end, length bands.
    """

    nominal: float
    edges: list[float]
    lower: list[float]
    upper: list[float]


class Damped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Damped persistence, the floor: intercept + latest * (value as of now) + mean_24 * (mean of the last 24 h)."""

    intercept: float
    latest: float
    mean_24: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json` of a package; `features` lists [name, version] in the model's input order.

    `content` names the training data by content (older packages have none), as the same data may have two names.
    `trained_until` is the hour (since 1970) of the last truth that the model has seen, -1 where it is not known.
    `trained_for` says what of the scenario the model rests on, by key (older packages do not say).
    """

    format: int = FORMAT
    version: str
    scenario: str
    created: str
    run_id: str
    dataset: str
    code_version: str
    training_start: str
    training_end: str
    rows: int
    features: list[tuple[str, int]]
    interval: Interval
    damped: Damped
    metrics: dict[str, float]
    sha256: dict[str, str]
    size_bytes: int
    latency_ms: float
    content: str = ""
    trained_until: int = -1
    trained_for: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


def decode_manifest(raw: bytes) -> Manifest:
    """Read a manifest.

    Raises:
        ContractBroken: Not JSON, a key is missing, unknown or of another type, or the format is a newer one.
    """
    manifest = decoded(raw, Manifest, "manifest.json")
    if manifest.format != FORMAT:
        raise ContractBroken(f"manifest.json: format {manifest.format} is not {FORMAT}")
    if not VERSION.fullmatch(manifest.version):
        raise ContractBroken(f"manifest.json: version {manifest.version[:80]!r} is not of the form {VERSION.pattern}")
    _check_interval(manifest.interval)
    return manifest


def _check_interval(interval: Interval) -> None:
    bands = len(interval.edges) + 1
    if not len(interval.lower) == len(interval.upper) == bands:
        raise ContractBroken(f"manifest.json: interval needs {bands} lower and upper offsets")
    if not all(left < right for left, right in pairwise(interval.edges)):
        raise ContractBroken(f"manifest.json: interval edges {interval.edges} do not rise")


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def encode_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Write named arrays as an uncompressed npz; the same arrays give the same bytes."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, array in arrays.items():
            # A ZipInfo made by hand carries the year 1980, not the clock.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return raw.getvalue()


def decode_arrays(name: str, raw: bytes) -> Arrays:
    """Read the arrays of an npz; pickled objects are refused.

    Nothing is allocated before the directory and the array's own header agree on its size.

    Args:
        name: File name for messages.
        raw: The file.

    Raises:
        ContractBroken: Not an npz, truncated, holding objects, an array of another size than the directory says, more
            than 1,000 arrays, or more than 200 MB once unpacked.
    """
    entries = raw.count(_ENTRY)
    if entries > MAXIMUM_ARRAYS:  # before the directory is read, which costs a kilobyte an entry
        raise ContractBroken(f"{name}: holds {entries} arrays, limit {MAXIMUM_ARRAYS}")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            if unpacked > MAXIMUM_UNPACKED_BYTES:
                raise ContractBroken(f"{name}: unpacks to {unpacked} bytes, limit {MAXIMUM_UNPACKED_BYTES}")
            with _ONE_AT_A_TIME:
                return {member.filename.removesuffix(".npy"): _array(archive, member) for member in archive.infolist()}
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, RuntimeError, MemoryError) as error:
        raise ContractBroken(f"{name}: not a readable npz: {error}") from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    name = repr(member.filename[:80])
    if member.compress_type not in _METHODS:
        raise ValueError(f"{name} is compressed by method {member.compress_type}")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{name} is of npy version {version}")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, kind = read(stream)
        count: int = math.prod(shape)
        claimed, held = count * kind.itemsize, member.file_size - stream.tell()
        if kind.hasobject:
            raise ValueError(f"{name} holds objects")
        if claimed != held or (count and not kind.itemsize):
            raise ValueError(f"{name} claims {claimed} bytes of values and holds {held}")
        stream.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def damped(floor: Damped, latest: Floats, mean_24: Floats) -> Floats:
    """Forecast of damped persistence; NaN where the value as of now is missing.

    Args:
        floor: Coefficients fitted on the training rows.
        latest: Target at the as-of hour, shape (n,).
        mean_24: Mean of the target over the 24 hours that end with it, NaN hours left out, shape (n,).
    """
    return np.asarray(floor.intercept + floor.latest * latest + floor.mean_24 * mean_24, dtype=np.float32)
