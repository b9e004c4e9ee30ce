"""Commits and predictions as Parquet: what they hold, and how a commit is read back as the batch it was."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from shared.core.model.answers import Labels
from shared.core.model.scoring import ROLES
from shared.core.stream.commit import FORMAT, Commit
from shared.core.stream.events import Batch, End
from shared.core.task.calendar import HOUR_MS
from shared.core.task.state import Outcome
from shared.core.task.task import Task, names_of
from shared.errors import ContractBroken

if TYPE_CHECKING:
    import pyarrow as pa

KEY = b"airloop"
OUTCOMES = b"airloop-outcomes"
SEAL = b"airloop-sha256="
BLANK = b"0" * 64
COMMIT_COLUMNS = ("sequence_number", "source", "position", "device_id", "minute", "disposition")


class ParquetFiles:
    """Commits and predictions of one task.

    Args:
        task: Says what rows, answers and labels hold.

    Attributes:
        channels: Names of a row's values.
        hours: Names of the columns of predictions that hold hours; likewise `numbers` and `texts`.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.scenario = task, task.scenario
        self.channels = names_of(task.row)
        self.hours = names_of(task.answer, "hour")
        self.numbers = (*names_of(task.answer, "number"), "revision", "sequence_number")
        self.texts = ("device_id", *names_of(task.answer, "text"), "model_version", "role")

    def encode_commit(self, commit: Commit, outcome: Outcome) -> bytes:
        """A commit as Parquet; the same batch always gives the same bytes."""
        import pyarrow as pa

        batch = outcome.batch
        columns: dict[str, Any] = {
            "sequence_number": pa.array(batch.sequence),
            "source": pa.DictionaryArray.from_arrays(pa.array(batch.source), pa.array(batch.sources, pa.string())),
            "position": pa.array(batch.position),
            "device_id": pa.DictionaryArray.from_arrays(pa.array(batch.device), pa.array(batch.devices, pa.string())),
            "minute": pa.array(batch.minute),
            "disposition": pa.array(outcome.disposition),
        }
        for place, name in enumerate(self.channels):
            columns[name] = pa.array(batch.values[:, place])
        table = pa.table(columns).replace_schema_metadata({KEY: msgspec.json.encode(commit)})
        return _write(table, {OUTCOMES: _outcomes(outcome.matured)})

    def decode_commit(self, raw: bytes) -> tuple[Commit, Batch]:
        """A commit's metadata and its batch.

        Raises:
            ContractBroken: Not a commit, damaged, or of another format.
        """
        table = _read(raw, "commit")
        try:
            commit = msgspec.json.decode((table.schema.metadata or {})[KEY], type=Commit)
        except (KeyError, msgspec.DecodeError) as error:
            raise ContractBroken(f"not a commit: {error}") from error
        if commit.format != FORMAT:
            raise ContractBroken(f"commit is of format {commit.format}, not {FORMAT}")
        _need(table, (*COMMIT_COLUMNS, *self.channels), "commit")
        devices, device = _dictionary(table, "device_id")
        names, source = _dictionary(table, "source")
        renumber = np.array([commit.sources.index(name) for name in names], np.int32)
        values = [_numpy(table, name).astype(np.float32) for name in self.channels]
        batch = Batch(
            commit.partition,
            commit.epoch,
            commit.first,
            commit.next,
            commit.enqueued_ms,
            tuple(commit.sources),
            tuple(devices),
            renumber[source] if len(source) else source,
            device,
            _numpy(table, "minute").astype(np.int32),
            _numpy(table, "position").astype(np.int64),
            _numpy(table, "sequence_number").astype(np.int64),
            np.stack(values, axis=1),
            tuple(End(place, position) for place, position in commit.ends),
        )
        return commit, batch

    def dispositions(self, raw: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """What became of each reading of a commit, uint8."""
        return _numpy(_read(raw, "commit"), "disposition").astype(np.uint8)

    def outcomes(self, raw: bytes) -> pa.Table:
        """Forecasts that became final with a commit: one row per device, as-of hour and role.

        Returns:
            device_id, as_of (hours since 1970), role, model_version, revision, the numbers of answer and label (truth
            NaN when it never came), sequence_number (of the event that made the label final).

        Raises:
            ContractBroken: Not a commit, damaged, or written without outcomes.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        _check(raw, "commit")
        try:
            packed = pq.read_metadata(io.BytesIO(raw)).metadata[OUTCOMES]
            stream = pa.CompressedInputStream(io.BytesIO(base64.b64decode(packed, validate=True)), "zstd")
            return pa.ipc.open_stream(stream).read_all()
        except (KeyError, TypeError) as error:
            raise ContractBroken(f"commit of {len(raw)} bytes has no outcomes") from error
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ContractBroken(f"outcomes of a commit cannot be read: {error}") from error

    def encode_predictions(self, outcome: Outcome) -> bytes:
        """A batch's predictions as Parquet; the same batch always gives the same bytes."""
        import pyarrow as pa

        found, batch = outcome.predictions, outcome.batch
        count, answered = len(found), self.task.answered(found.as_of, found.numbers)
        when = pa.timestamp("ms", tz="UTC")
        columns: dict[str, Any] = {
            "device_id": pa.array(found.device, pa.string()).dictionary_encode(),
            **{name: _arrow(kind, answered[name]) for name, kind in self.task.answer},
            "model_version": pa.array(found.model, pa.string()).dictionary_encode(),
            "role": pa.array([ROLES[role] for role in found.role], pa.string()).dictionary_encode(),
            "served": pa.array(found.served),
            "revision": pa.array(found.revision.astype(np.int32)),
            "scored_at": pa.array(np.full(count, batch.enqueued_ms, np.int64)).cast(when),
            "partition": pa.array(np.full(count, batch.partition, np.int32)),
            "sequence_number": pa.array(found.sequence),
        }
        return _write(pa.table(columns))

    def read_predictions(self, raw: bytes) -> dict[str, Any]:
        """Predictions as columns: numpy arrays of numbers, `as_of` in hours since 1970, lists of texts.

        Raises:
            ContractBroken: Not predictions, or damaged.
        """
        table = _read(raw, "predictions")
        _need(table, (*self.texts, *self.hours, *self.numbers, "served"), "predictions")
        out: dict[str, Any] = {name: table[name].to_pylist() for name in self.texts}
        for name in self.hours:
            out[name] = table[name].cast("int64").to_numpy() // HOUR_MS
        for name in self.numbers:
            out[name] = table[name].to_numpy()
        out["served"] = table["served"].to_numpy(zero_copy_only=False)
        return out


def _arrow(kind: str, values: Any) -> Any:
    import pyarrow as pa

    if kind == "hour":
        return pa.array(values * HOUR_MS).cast(pa.timestamp("ms", tz="UTC"))
    return pa.array(values) if kind == "number" else pa.array(values, pa.string()).dictionary_encode()


def _outcomes(found: Labels) -> bytes:
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


def _dictionary(table: pa.Table, name: str) -> tuple[list[str], np.ndarray[Any, np.dtype[np.int32]]]:
    encoded = table[name].unify_dictionaries().combine_chunks()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32)


def _numpy(table: pa.Table, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    return np.asarray(table[name].to_numpy())


def _need(table: pa.Table, names: Iterable[str], what: str) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise ContractBroken(f"{what} without the columns {', '.join(missing)}")


def _write(table: pa.Table, metadata: dict[bytes, bytes] | None = None) -> bytes:
    """A table as Parquet that carries its own checksum, without which most flipped bits would read as other values."""
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


def _check(raw: bytes, what: str) -> None:
    place = raw.rfind(SEAL) + len(SEAL)
    digest = hashlib.sha256(raw[:place] + BLANK + raw[place + len(BLANK) :]).hexdigest()
    if raw[place : place + len(BLANK)] != digest.encode():
        raise ContractBroken(f"{what} of {len(raw)} bytes is damaged: its checksum differs")


def _read(raw: bytes, what: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check(raw, what)
    try:
        return pq.read_table(io.BytesIO(raw))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ContractBroken(f"{what} of {len(raw)} bytes cannot be read: {error}") from error
