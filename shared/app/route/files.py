"""Everything becomes one stream: what is dropped is read, checked, packed and sent to the partition that owns it."""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from shared.app.route.file_books import REPORTS, FileBooks, Routed, folder_of, key_of, source_of
from shared.app.score.serving import Serving
from shared.core.intake import dead_letters
from shared.core.intake.readings import Rejection
from shared.core.intake.tables import LongTable, WideChunk, WideTable
from shared.core.stream.events import split
from shared.core.stream.packing import pack, pack_end
from shared.core.task.calendar import NO_HOUR
from shared.core.task.task import Task, names_of
from shared.errors import BadEvent
from shared.ports import BlobInfo, Blobs, Clock, OpenTable, Stream

log = logging.getLogger(__name__)
INCOMING = "incoming"
ZONE = "zone"
MINUTE_MS = 60_000


@dataclass(slots=True)
class _Count:
    """What was seen of a file so far."""

    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    devices: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFile:
    """Routes one dropped file.

    Args:
        task: What is asked and answered.
        blobs: Where the file is, and where dead letters and answers go.
        stream: The hub "readings".
        serving: Answers wide files.
        file_books: Keeps the file's books.
        open_table: Reads tables.
        clock: Says how long a file took.
        chunk_rows: Rows read at once.
    """

    task: Task
    blobs: Blobs
    stream: Stream
    serving: Serving
    file_books: FileBooks
    open_table: OpenTable
    clock: Clock
    chunk_rows: int = 50_000

    def __call__(self, name: str) -> None:
        """Read a file of the container "incoming" to its end.

        A file that was read before only has its end markers sent again where receipts are missing.

        Raises:
            TransientFailure: A store or the hub did not answer, or the file was replaced while it was read: the trigger
                delivers it again, and what was already sent is recognised by its positions.
        """
        info = self.blobs.info(INCOMING, name)
        if info is None:
            log.warning("%s/%s is gone; nothing to route", INCOMING, name[:200])
            return
        source = source_of(name, info)
        if self.file_books.route_of(key_of(source)) is not None:
            if not self.file_books.finish(key_of(source)):
                self.end_again(key_of(source))
            return
        started = self.clock.now_ms()
        try:
            with self.blobs.open(INCOMING, name, info.etag) as stream:
                table = self.open_table(
                    name,
                    stream,
                    self.task.scenario,
                    zone=zone_of(info),
                    not_after_minute=info.modified_ms // MINUTE_MS,
                    chunk_rows=self.chunk_rows,
                )
                self._route(table, name, source, info, started)
        except BadEvent as error:
            self.refuse(name, info, error, started)

    def end_again(self, key: str) -> None:
        """Send the end markers of a file that was read, to the partitions that have not answered yet."""
        routed = self.file_books.route_of(key)
        if routed is not None:
            self._end(routed.source, routed.rows_in, self.file_books.waiting_for(key, routed))

    def _route(self, table: LongTable | WideTable, name: str, source: str, info: BlobInfo, started: int) -> None:
        count = _Count()
        if isinstance(table, WideTable):
            self._answer(table, name, source, info, started, count)
            return
        self._send(table, source, info, count)
        routed = Routed(
            source=source,
            file=name,
            etag=info.etag,
            started_ms=started,
            partitions=self.stream.partitions(),
            rows_in=table.rows,
            rows_accepted=count.accepted,
            rejected=dict(count.rejected),
            devices=len(count.devices),
            ignored=list(table.ignored),
            converted=dict(table.converted),
            problem=table.problem,
        )
        self.file_books.routed(routed)
        self._end(source, table.rows, range(routed.partitions))

    def _send(self, table: LongTable, source: str, info: BlobInfo, count: _Count) -> None:
        partitions, channels = self.stream.partitions(), names_of(self.task.row)
        for parsed in table:
            for partition, readings in split(parsed.readings, partitions):
                self.stream.send(partition, list(pack(source, channels, readings)))
            count.accepted += len(parsed.readings)
            count.devices.update(parsed.readings.devices)
            self._dead_letter(source, parsed.rejected, count, table.header, info)

    def _end(self, source: str, rows: int, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self.stream.send(partition, [pack_end(source, rows + 1)])

    def _dead_letter(
        self, source: str, rejected: Iterable[Rejection], count: _Count, header: str | None, info: BlobInfo
    ) -> None:
        """Write rejected rows to the dead-letter; the name follows from file and place, so a repetition overwrites."""
        letters = [
            msgspec.structs.replace(
                dead_letters.letter(source, rejection),
                header=header,
                zone=zone_of(info),
                not_after_minute=info.modified_ms // MINUTE_MS,
            )
            for rejection in rejected
        ]
        if letters:
            name = f"file={key_of(source)}/{letters[0].position:012d}.jsonl"
            self.blobs.write("dead-letter", name, dead_letters.encode(letters))
            count.rejected.update(letter.reason for letter in letters)

    def _answer(self, table: WideTable, name: str, source: str, info: BlobInfo, started: int, count: _Count) -> None:
        """Score a wide file at once; the answer is a table of ID and target."""
        answering = self.serving.current()
        if answering.champion is None:
            raise BadEvent("no_model", "no model is deployed yet: drop the file again after the first deployment")
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(["ID", "target"])
        column, *_ = names_of(self.task.answer, "number")
        errors: list[np.ndarray[Any, np.dtype[np.float64]]] = []
        for chunk in table:
            value = answering.forecast(self._features(chunk))[column]
            out.writerows((i, f"{v:.4f}") for i, v in zip(chunk.ids, value.tolist(), strict=True))
            errors.append((value.astype(np.float64) - chunk.target)[~np.isnan(chunk.target)])
            count.accepted += len(chunk.ids)
            self._dead_letter(source, chunk.rejected, count, table.header, info)
        folder = folder_of(name, source)
        self.blobs.write(REPORTS, f"{folder}/answer.csv", text.getvalue().encode())
        off = np.concatenate([np.empty(0), *errors])
        summary = {
            "form": "wide",
            "answer": f"{REPORTS}/{folder}/answer.csv",
            "forecasts": count.accepted,
            "matured": len(off),
            "mae": float(np.abs(off).mean()) if len(off) else None,
            "rmse": float(np.sqrt((off**2).mean())) if len(off) else None,
            "model_version": answering.control.champion,
            "ignored": list(table.ignored),
            "converted": dict(table.converted),
        }
        problem = table.problem
        self._publish(name, source, info, started, count, table.rows, problem, summary)

    def _features(self, chunk: WideChunk) -> np.ndarray[Any, np.dtype[np.float32]]:
        unknown = np.full(len(chunk.ids), NO_HOUR, np.int64)  # without timestamps there is no calendar
        return self.task.matrix(chunk.window, unknown)

    def _publish(
        self,
        name: str,
        source: str,
        info: BlobInfo,
        started: int,
        count: _Count,
        rows: int,
        problem: str | None,
        more: dict[str, Any],
    ) -> None:
        summary = {
            "status": "done" if problem is None else "incomplete",
            "reason": None if problem is None else problem.split(":")[0],
            "detail": problem,
            "file": name,
            "etag": info.etag,
            "rows_in": rows,
            "rows_accepted": count.accepted,
            "rows_rejected": sum(count.rejected.values()),
            "rejected": dict(count.rejected),
            **more,
            "seconds": (self.clock.now_ms() - started) / 1000,
        }
        self.file_books.publish(name, source, summary)

    def refuse(self, name: str, info: BlobInfo, error: BadEvent, started_ms: int | None = None) -> None:
        """Keep a file that cannot be used as a whole where it is; its summary says why."""
        log.warning("file refused: %s", error.reason)
        refused = {"status": "refused", "reason": error.reason, "detail": error.detail}
        started = self.clock.now_ms() if started_ms is None else started_ms
        self._publish(name, source_of(name, info), info, started, _Count(), 0, None, refused)


def zone_of(info: BlobInfo) -> str | None:
    """Zone declared for a file; names of metadata have no case, and stores hand them out as they were sent."""
    return next((value for name, value in sorted(info.metadata.items()) if name.casefold() == ZONE), None)
