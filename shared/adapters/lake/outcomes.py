"""Forecasts that became final with a commit, among the metadata of its Parquet file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.core.model.answers import Labels
from shared.core.model.scoring import ROLES
from shared.errors import ContractBroken

if TYPE_CHECKING:
    import pyarrow as pa

OUTCOMES = b"airloop-outcomes"


def encode_outcomes(found: Labels) -> bytes:
    """Rows as an Arrow stream, compressed as a whole, in Base64: readers of Parquet expect text among the metadata."""
    import pyarrow as pa

    rows = pa.record_batch(
        {
            "device_id": _coded(found.device, found.devices),
            "as_of": pa.array(found.as_of),
            "role": _coded(found.role, ROLES),
            "model_version": _coded(found.model, found.models),
            "revision": pa.array(found.revision.astype(np.int32)),
            **{name: pa.array(values) for name, values in found.numbers.items()},
            "sequence_number": pa.array(found.sequence),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return base64.b64encode(pa.Codec("zstd", compression_level=1).compress(sink.getvalue(), asbytes=True))


def _coded(codes: np.ndarray[Any, np.dtype[Any]], names: Sequence[str]) -> pa.DictionaryArray:
    """Names by their numbers, only those that occur."""
    import pyarrow as pa

    used, places = np.unique(codes, return_inverse=True)
    kept = pa.array([names[code] for code in used.tolist()], pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32)), kept)


def decode_outcomes(raw: bytes) -> pa.Table:
    """The outcomes in a commit's file.

    Raises:
        ContractBroken: It has none, or they cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        packed = pq.read_metadata(io.BytesIO(raw)).metadata[OUTCOMES]
        stream = pa.CompressedInputStream(io.BytesIO(base64.b64decode(packed, validate=True)), "zstd")
        return pa.ipc.open_stream(stream).read_all()
    except (KeyError, TypeError) as error:
        raise ContractBroken(f"commit of {len(raw)} bytes has no outcomes") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ContractBroken(f"outcomes of a commit cannot be read: {error}") from error
