"""Prepared rows as one file, for the steps of a pipeline that run on different machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from shared.errors import ContractBroken
from training.data.prepare import Prepared

FILE = "prepared.msgpack"


def save(folder: Path, prepared: Prepared) -> None:
    """Write prepared rows into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(msgspec.msgpack.encode(prepared, enc_hook=_pack))


def load(folder: Path) -> Prepared:
    """Read prepared rows back, bit for bit.

    Raises:
        ContractBroken: The file is missing, damaged, or of another version of the code.
    """
    try:
        return msgspec.msgpack.decode((folder / FILE).read_bytes(), type=Prepared, dec_hook=_unpack)
    except (OSError, msgspec.MsgspecError, ValueError) as error:
        raise ContractBroken(f"{folder.name}/{FILE}: {error}") from error


def _pack(value: object) -> object:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes()]
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} cannot be kept")


def _unpack(kind: Any, value: Any) -> object:
    if getattr(kind, "__origin__", kind) is not np.ndarray:
        raise NotImplementedError(f"{kind} cannot be read back")
    letters, shape, content = value
    return np.frombuffer(bytearray(content), dtype=np.dtype(letters)).reshape(shape)
