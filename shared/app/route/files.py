"""Everything becomes one stream: what is dropped is read, checked, packed and sent to the partition that owns it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import msgspec
import numpy as np

from shared.app.route.drops import Drops, Hashing, duplicate
from shared.app.route.file_books import REPORTS, FileBooks, Routed, folder_of, key_of, source_of
from shared.app.route.file_letters import MINUTE_MS, FileLetters, again_of, device_of, folder_of_letters, zone_of
from shared.app.route.wide_answers import WideAnswers
from shared.app.score.serving import Serving
from shared.core.intake.crowds import Crowd
from shared.core.intake.readings import shown
from shared.core.intake.tables import LongTable, WideTable
from shared.core.intake.times.skipped import NONE, Skipped, together
from shared.core.intake.values.dropped import Values, by_reason, joined, warnings
from shared.core.stream.events import split
from shared.core.stream.packing import BEYOND, pack, pack_end
from shared.core.task.task import Task, names_of
from shared.errors import BadEvent
from shared.ports import BlobInfo, Blobs, Clock, OpenTable, Stream

log = logging.getLogger(__name__)
INCOMING = "incoming"
LATER = "future"  # rows that are rejected for it may be accepted when the same file is dropped another day


@dataclass(slots=True)
class _Count:
    """What was seen of a file so far."""

    letters: FileLetters
    accepted: int = 0
    with_target: int = 0
    devices: int = 0
    values: Values = field(default_factory=dict)
    skipped: Skipped = NONE

    @property
    def rows(self) -> int:
        return self.accepted + self.letters.rejected.total()


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
        most_letters: Dead letters that one file may leave.
    """

    task: Task
    blobs: Blobs
    stream: Stream
    serving: Serving
    file_books: FileBooks
    open_table: OpenTable
    clock: Clock
    chunk_rows: int = 50_000
    most_letters: int = 10_000

    def __call__(self, name: str) -> None:
        """Read a file of the container "incoming" to its end.

        A file that was read before only has its end markers sent again where receipts are missing.

        Raises:
            TransientFailure: A store or the hub did not answer, or the file was replaced while it was read: the trigger
                delivers it again, and what was already sent is recognised by its positions.
        """
        info = self.blobs.info(INCOMING, name)
        if info is None:
            log.warning("%s/%s is gone; nothing to route", INCOMING, shown(name))
            return
        source = source_of(name, info)
        if self.file_books.route_of(key_of(source)) is not None:
            if not self.file_books.finish(key_of(source)):
                self.end_again(key_of(source))
            return
        started = self.clock.now_ms()
        try:
            with self.blobs.open(INCOMING, name, info.etag) as stream:
                content = Hashing(stream)
                table = self.open_table(
                    name,
                    cast("BinaryIO", content),
                    self.task.scenario,
                    zone=zone_of(info),
                    not_after_minute=info.modified_ms // MINUTE_MS,
                    chunk_rows=self.chunk_rows,
                    device=device_of(info),
                )
                self._route(table, name, source, info, started, content)
        except BadEvent as error:
            self.refuse(name, info, error, started)

    @property
    def _drops(self) -> Drops:
        return Drops(self.blobs, self.task.scenario)

    def end_again(self, key: str) -> None:
        """Send the end markers of a file that was read, or never will be, to the partitions that have not answered."""
        routed = self.file_books.route_of(key) or self._abandoned(key)
        if routed is not None:
            self._end(routed, self.file_books.waiting_for(key, routed))

    def _abandoned(self, key: str) -> Routed | None:
        """Close the books of a file of which a part was sent, and the rest is replaced or deleted; else None."""
        begun = self.file_books.begun_of(key)
        if begun is None:
            return None
        info = self.blobs.info(INCOMING, begun.file)
        if info is not None and source_of(begun.file, info) == begun.source:
            return None  # it will be read again
        log.error("%s/%s is not there any more, and only a part of it was read", INCOMING, shown(begun.file))
        return self.file_books.abandoned(begun)

    def _refuse_duplicate(self, table: LongTable, name: str, source: str, info: BlobInfo) -> None:
        """Refuse a file whose bytes were read whole as another one; one of which a part was sent is read on."""
        if again_of(info) or not self._drops.of_size(info.size):
            return
        with self.blobs.open(INCOMING, name, info.etag) as stream:
            first = self._drops.first(self._drops.identity(info, Hashing(stream).content(), table))
        if first is not None and first.source != source and self.file_books.begun_of(key_of(source)) is None:
            raise duplicate(first)

    def _route(
        self,
        table: LongTable | WideTable,
        name: str,
        source: str,
        info: BlobInfo,
        started: int,
        content: Hashing,
    ) -> None:
        folder = folder_of_letters(key_of(source))
        count = _Count(FileLetters(blobs=self.blobs, folder=folder, source=source, info=info, most=self.most_letters))
        if isinstance(table, WideTable):
            self._answer(table, name, source, info, started, count)
            return
        self._refuse_duplicate(table, name, source, info)
        begun = Routed(
            source=source,
            file=name,
            etag=info.etag,
            started_ms=started,
            partitions=self.stream.partitions(),
            rows_in=0,
            rows_accepted=0,
            rejected={},
            devices=0,
            ignored=[],
            converted={},
        )
        problem = self._send(table, begun, count) or table.problem
        whole = problem is None and count.accepted and not count.letters.rejected[LATER]
        routed = msgspec.structs.replace(
            begun,
            rows_in=count.rows,
            rows_accepted=count.accepted,
            rejected=dict(count.letters.rejected),
            devices=count.devices,
            ignored=list(table.ignored),
            converted=dict(table.converted),
            problem=problem,
            letters_left_out=count.letters.left_out or msgspec.UNSET,
            with_target=count.with_target,
            examples=count.letters.examples or msgspec.UNSET,
            identity=self._drops.identity(info, content.content(), table) if whole else msgspec.UNSET,
            assumed=table.assumed(self.task.scenario) or msgspec.UNSET,
            **self._told(name, count),
        )
        self.file_books.routed(routed)
        self._end(routed, range(routed.partitions))

    def _send(self, table: LongTable, begun: Routed, count: _Count) -> str | None:
        """Send a file's readings; what ended it early where that shows only after a part was sent."""
        channels, crowd, tick_s = names_of(self.task.row), Crowd(self.task.scenario), self.task.scenario.resolution_s
        target = [place for place, name in enumerate(channels) if name == self.task.scenario.target]
        try:
            for parsed in table:
                count.devices = crowd.count(parsed.readings)
                if not count.rows:
                    self.file_books.begun(begun)
                for partition, readings in split(parsed.readings, begun.partitions):
                    self.stream.send(partition, list(pack(begun.source, channels, readings, tick_s=tick_s)))
                count.accepted += len(parsed.readings)
                count.with_target += int(np.isfinite(parsed.readings.values[:, target]).any(axis=1).sum())
                count.values = joined([count.values, parsed.values(channels)])
                count.skipped = together([count.skipped, parsed.skipped])
                count.letters.write(parsed.rejected, table.header, table.device, table.layout)
        except BadEvent as error:
            if not count.rows:
                raise
            return str(error)
        return None

    def _end(self, routed: Routed, partitions: Iterable[int]) -> None:
        last = BEYOND if routed.abandoned else routed.rows_in + 1
        for partition in partitions:
            self.stream.send(partition, [pack_end(routed.source, last)])

    def _answer(self, table: WideTable, name: str, source: str, info: BlobInfo, started: int, count: _Count) -> None:
        """Score a wide file at once; the answer is a table of ID and target."""
        answering = self.serving.current()
        if answering.champion is None:
            raise BadEvent("no_model", "no model is deployed yet: drop the file again after the first deployment")
        answers = WideAnswers(self.task, answering)
        for chunk in table:
            answers.add(chunk)
            count.accepted += len(chunk.ids)
            count.values = joined([count.values, chunk.values])
            count.letters.write(chunk.rejected, table.header)
        answer = f"{folder_of(name, source)}/answer.csv"
        self.blobs.write(REPORTS, answer, answers.table())
        summary = {
            "form": "wide",
            "answer": f"{REPORTS}/{answer}",
            "forecasts": count.accepted,
            **answers.scores(),
            "ignored": list(table.ignored),
            "converted": dict(table.converted),
            **self._told(name, count),
        }
        if count.letters.left_out:
            summary["letters_left_out"] = count.letters.left_out
        self._publish(name, source, info, started, count, table.problem, summary)

    def _told(self, name: str, count: _Count) -> dict[str, Any]:
        """Values that were dropped from readings, and what a person should know; where there are any."""
        dropped = by_reason(count.values)
        lines = warnings(count.values, self.task.scenario.quality.maximum_dropped_share) + count.skipped.warnings
        for line in lines:
            log.warning("%s/%s: %s", INCOMING, shown(name), line)
        return {key: found for key, found in (("dropped", dropped), ("warnings", lines)) if found}

    def _publish(
        self,
        name: str,
        source: str,
        info: BlobInfo,
        started: int,
        count: _Count | None,
        problem: str | None,
        more: dict[str, Any],
    ) -> None:
        rejected = dict(count.letters.rejected) if count else {}
        summary = {
            "status": "done" if problem is None else "incomplete",
            "reason": None if problem is None else problem.split(":")[0],
            "detail": problem,
            "file": name,
            "etag": info.etag,
            "rows_in": count.rows if count else 0,
            "rows_accepted": count.accepted if count else 0,
            "rows_rejected": sum(rejected.values()),
            "rejected": rejected,
            **({"examples": count.letters.examples} if count and rejected else {}),
            **more,
            "seconds": (self.clock.now_ms() - started) / 1000,
        }
        self.file_books.publish(name, source, summary)

    def refuse(self, name: str, info: BlobInfo, error: BadEvent, started_ms: int | None = None) -> None:
        """Keep a file that cannot be used as a whole where it is; its summary says why."""
        log.warning("file refused: %s", error.reason)
        refused = {"status": "refused", "reason": error.reason, "detail": error.detail}
        started = self.clock.now_ms() if started_ms is None else started_ms
        self._publish(name, source_of(name, info), info, started, None, None, refused)
