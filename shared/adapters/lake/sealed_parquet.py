"""Parquet files sealed by a checksum of their own: without it most flipped bits would read as other values."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from shared.errors import ContractBroken

if TYPE_CHECKING:
    import pyarrow as pa

SEAL = b"airloop-sha256="
BLANK = b"0" * 64


def write(table: pa.Table, metadata: dict[bytes, bytes] | None = None) -> bytes:
    """A table as sealed Parquet."""
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", version="2.6") as writer:
        writer.write_table(table)
        if metadata:
            writer.add_key_value_metadata(metadata)
        writer.add_key_value_metadata({"checksum": (SEAL + BLANK).decode()})
    raw = sink.getvalue()
    place = raw.rindex(SEAL + BLANK) + len(SEAL)  # metadata added last stands last, behind all that is hostile
    return raw[:place] + hashlib.sha256(raw).hexdigest().encode() + raw[place + len(BLANK) :]


def check(raw: bytes, what: str) -> None:
    """Refuse bytes whose seal is broken.

    Raises:
        ContractBroken: They are damaged.
    """
    place = raw.rfind(SEAL) + len(SEAL)
    digest = hashlib.sha256(raw[:place] + BLANK + raw[place + len(BLANK) :]).hexdigest()
    if raw[place : place + len(BLANK)] != digest.encode():
        raise ContractBroken(f"{what} of {len(raw)} bytes is damaged: its checksum differs")


def read(raw: bytes, what: str) -> pa.Table:
    """The table in a sealed file.

    Raises:
        ContractBroken: It is damaged, or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check(raw, what)
    try:
        return pq.read_table(pa.BufferReader(raw), use_threads=False, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ContractBroken(f"{what} of {len(raw)} bytes cannot be read: {error}") from error
