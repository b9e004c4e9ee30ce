"""A commit's batch from the columns of its readings, whether they stand in the commit's file or in the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shared.core.intake.readings import Floats, Ints, Ticks
from shared.core.stream.commit import Commit
from shared.core.stream.events import Batch, End

if TYPE_CHECKING:
    import pyarrow as pa


def batch_from(commit: Commit, rows: pa.Table, minute: Ticks, values: Floats) -> Batch:
    """The batch that a commit was made of.

    Args:
        commit: The commit.
        rows: Its readings, in the batch's order.
        minute: Ticks since 1970, shape (n,).
        values: Shape (n, channels).
    """
    devices, device = coded(rows, "device_id")
    sources, source = coded(rows, "source")
    renumber = np.array([commit.sources.index(name) for name in sources], np.int32)
    return Batch(
        commit.partition,
        commit.epoch,
        commit.first,
        commit.next,
        commit.enqueued_ms,
        tuple(commit.sources),
        tuple(devices),
        renumber[source],
        device,
        minute,
        rows["position"].to_numpy().astype(np.int64, copy=False),
        rows["sequence_number"].to_numpy().astype(np.int64, copy=False),
        values,
        tuple(End(place, position) for place, position in commit.ends),
    )


def coded(rows: pa.Table, name: str) -> tuple[list[str], Ints]:
    """A column of texts as its distinct values and each row's index among them, int32."""
    encoded = rows[name].unify_dictionaries().combine_chunks().dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
