"""Commits and predictions as Parquet: what they hold, and how a commit is read back as the batch it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from shared.adapters.lake.batches import batch_from
from shared.adapters.lake.outcomes import OUTCOMES, decode_outcomes, encode_outcomes
from shared.adapters.lake.sealed_parquet import check, read, write
from shared.core.model.scoring import ROLES
from shared.core.scenario.cadence import Cadence
from shared.core.stream.commit import EVOLVED, FORMAT, Commit
from shared.core.stream.events import Batch
from shared.core.task.state import Outcome
from shared.core.task.task import Task, names_of
from shared.core.task.versions import at
from shared.errors import ContractBroken

if TYPE_CHECKING:
    import pyarrow as pa

KEY = b"airloop"
COLD_START = "cold_start"  # a column of predictions, left out where no device had too little history
COMMIT_COLUMNS = ("sequence_number", "source", "position", "device_id", "minute", "disposition")


class ParquetFiles:
    """Commits and predictions of one task.

    Args:
        task: Says what rows, answers and labels hold.

    Attributes:
        hours: Names of the columns of predictions that hold hours; likewise `numbers` and `texts`.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.scenario = task, task.scenario
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
        for place, name in enumerate(self.channels_of(commit)):
            columns[name] = pa.array(batch.values[:, place])
        table = pa.table(columns).replace_schema_metadata({KEY: msgspec.json.encode(commit)})
        return write(table, {OUTCOMES: encode_outcomes(outcome.matured)})

    def decode_commit(self, raw: bytes) -> tuple[Commit, Batch]:
        """A commit's metadata and its batch.

        Raises:
            ContractBroken: Not a commit, damaged, or of another format.
            ConfigError: It was made under a newer version of the scenario.
        """
        table = read(raw, "commit")
        try:
            commit = msgspec.json.decode((table.schema.metadata or {})[KEY], type=Commit)
        except (KeyError, msgspec.DecodeError) as error:
            raise ContractBroken(f"not a commit: {error}") from error
        if commit.format not in (FORMAT, EVOLVED):
            raise ContractBroken(f"commit is of format {commit.format}, not {FORMAT} or {EVOLVED}")
        channels = self.channels_of(commit)
        _need(table, (*COMMIT_COLUMNS, *channels), "commit")
        values = np.stack([_numpy(table, name).astype(np.float32) for name in channels], axis=1)
        minute = self.cadence_of(commit).kept(_numpy(table, "minute"))
        return commit, batch_from(commit, table, minute, values)

    def channels_of(self, commit: Commit) -> tuple[str, ...]:
        """Names of the values of a commit's readings."""
        return names_of(at(self.task, commit.version).row)

    def cadence_of(self, commit: Commit) -> Cadence:
        """Of the scenario that a commit was made under: how long its ticks are."""
        return at(self.task, commit.version).scenario.cadence

    @staticmethod
    def columns(raw: bytes) -> tuple[str, ...]:
        """Names of the values in a commit, whatever scenario it was made under."""
        return tuple(name for name in read(raw, "commit").column_names if name not in COMMIT_COLUMNS)

    def dispositions(self, raw: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """What became of each reading of a commit, uint8."""
        return _numpy(read(raw, "commit"), "disposition").astype(np.uint8)

    def outcomes(self, raw: bytes) -> pa.Table:
        """Forecasts that became final with a commit: one row per device, as-of hour and role.

        Returns:
            device_id, as_of (steps since 1970), role, model_version, revision, the numbers of answer and label (truth
            NaN when it never came), sequence_number (of the event that made the label final).

        Raises:
            ContractBroken: Not a commit, damaged, or written without outcomes.
        """
        check(raw, "commit")
        return decode_outcomes(raw)

    def encode_predictions(self, outcome: Outcome, version: int = 0) -> bytes:
        """A batch's predictions as Parquet; the same batch always gives the same bytes."""
        import pyarrow as pa

        found, batch = outcome.predictions, outcome.batch
        count, answered = len(found), at(self.task, version).answered(found.as_of, found.numbers)
        when = pa.timestamp("ms", tz="UTC")
        columns: dict[str, Any] = {
            "device_id": pa.array(found.device, pa.string()).dictionary_encode(),
            **{name: _arrow(kind, answered[name], self.scenario.cadence) for name, kind in self.task.answer},
            "model_version": pa.array(found.model, pa.string()).dictionary_encode(),
            "role": pa.array([ROLES[role] for role in found.role], pa.string()).dictionary_encode(),
            "served": pa.array(found.served),
            "revision": pa.array(found.revision.astype(np.int32)),
            "scored_at": pa.array(np.full(count, batch.enqueued_ms, np.int64)).cast(when),
            "partition": pa.array(np.full(count, batch.partition, np.int32)),
            "sequence_number": pa.array(found.sequence),
        }
        if found.cold_start.any():
            columns[COLD_START] = pa.array(found.cold_start)
        return write(pa.table(columns))

    def read_predictions(self, raw: bytes) -> dict[str, Any]:
        """Predictions as columns: numpy arrays of numbers, `as_of` in steps since 1970, lists of texts.

        Raises:
            ContractBroken: Not predictions, or damaged.
        """
        table = read(raw, "predictions")
        _need(table, (*self.texts, *self.hours, *self.numbers, "served"), "predictions")
        out: dict[str, Any] = {name: table[name].to_pylist() for name in self.texts}
        step_ms = self.scenario.cadence.step_s * 1000
        for name in self.hours:
            out[name] = table[name].cast("int64").to_numpy() // step_ms
        for name in self.numbers:
            out[name] = table[name].to_numpy()
        out["served"] = table["served"].to_numpy(zero_copy_only=False)
        out[COLD_START] = flags(table, COLD_START)
        return out


def _arrow(kind: str, values: Any, cadence: Cadence) -> Any:
    import pyarrow as pa

    if kind == "hour":
        return pa.array(values * cadence.step_s * 1000).cast(pa.timestamp("ms", tz="UTC"))
    return pa.array(values) if kind == "number" else pa.array(values, pa.string()).dictionary_encode()


def _numpy(table: pa.Table, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    return np.asarray(table[name].to_numpy())


def flags(table: pa.Table, name: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """A column that is not there, or null, where nothing is to be said; bool, shape (n,)."""
    if name not in table.column_names:
        return np.zeros(len(table), bool)
    return np.array(table[name].fill_null(False).to_numpy(), bool)


def _need(table: pa.Table, names: Iterable[str], what: str) -> None:
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise ContractBroken(f"{what} without the columns {', '.join(missing)}")
