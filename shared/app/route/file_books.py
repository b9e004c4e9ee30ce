"""A dropped file's way through the books: its route, the partitions' receipts, in the end its summary and report."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, NamedTuple, TypeVar

import msgspec

from shared.app.reports.file import file_report
from shared.app.route import drops
from shared.app.route.file_letters import CONTAINER as LETTERS
from shared.app.route.file_letters import folder_of_letters
from shared.core.intake import dead_letters
from shared.core.intake.readings import Longs
from shared.core.model.scoring import FLOOR
from shared.core.stream.events import FILE_PREFIX
from shared.core.task.calendar import DAY_HOURS
from shared.core.task.losses import Losses
from shared.core.task.state import State
from shared.core.task.task import Task
from shared.errors import ContractBroken
from shared.ports import BlobInfo, Blobs, Clock
from shared.validation import decoded

log = logging.getLogger(__name__)
Record = TypeVar("Record")
RECEIPTS = "receipts"
REPORTS = "reports"
BEGUN, ROUTE = "begun.json", "route.json"
ARRIVED = ("applied", "stored_late", "duplicates", "conflicts")
COUNTED = (*ARRIVED, "redelivered", "forecasts", "matured", "paired")
SELDOM = ("letters_left_out", "dropped", "warnings", "assumed")  # what routing says where there is any
RARE = ("refused", "first_forecasts")  # counts that are said where there are any


class Routed(msgspec.Struct, frozen=True, kw_only=True):
    """What routing a file gave: rows by what became of them, and how its columns were read.

    `dropped` are values that became missing, by channel and reason, `warnings` say what is odd.
    `abandoned` says that a part of it was read and the rest is gone: what the partitions have of it is what it gave.
    A file that was read whole is known again by its `identity`. Columns were `assumed` where nothing told their unit.
    """

    source: str
    file: str
    etag: str
    started_ms: int
    partitions: int
    rows_in: int
    rows_accepted: int
    rejected: dict[str, int]
    devices: int
    ignored: list[str]
    converted: dict[str, str]
    problem: str | None = None
    letters_left_out: int | msgspec.UnsetType = msgspec.UNSET
    with_target: int | msgspec.UnsetType = msgspec.UNSET
    examples: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    dropped: dict[str, dict[str, int]] | msgspec.UnsetType = msgspec.UNSET
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET
    abandoned: bool | msgspec.UnsetType = msgspec.UNSET
    identity: str | msgspec.UnsetType = msgspec.UNSET
    assumed: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's part of a file: its tally when the end marker was committed."""

    source: str
    partition: int
    totals: dict[str, int]
    daily: dict[int, list[int]]
    first_hour: int
    last_hour: int
    model: str | None


class FileListing(NamedTuple):
    """Keys of files that are not done, and of those that were read to their end or refused."""

    unfinished: list[str]
    known: set[str]


def key_of(source: str) -> str:
    """Name of a file's folder among the receipts: a digest, since file names are hostile."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def folder_of(file: str, source: str) -> str:
    """Folder of a file's summary and report: readable, harmless and unique."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", file).strip("._")[:80] or "file"
    return f"files/{plain}-{key_of(source)[:8]}"


def source_of(file: str, info: BlobInfo) -> str:
    """Identity of one version of a dropped file."""
    return f"{FILE_PREFIX}{file}@{info.etag.strip(chr(34))}"


def receipt_name(partition: int) -> str:
    """Name of a partition's receipt in the file's folder."""
    return f"partition={partition:02d}.json"


@dataclass(frozen=True, slots=True)
class FileBooks:
    """Writes receipts, and the summary once all are there.

    Args:
        task: What files are scored by, and how pages speak of it.
        blobs: Where receipts and reports go.
        clock: Says how long a file took.
    """

    task: Task
    blobs: Blobs
    clock: Clock

    def route_of(self, key: str) -> Routed | None:
        """What routing a file gave, None before it has read all of it.

        Raises:
            ContractBroken: That cannot be read.
        """
        return self._read(f"{key}/{ROUTE}", Routed)

    def begun(self, routed: Routed) -> None:
        """Open a file's account; before anything of it is sent."""
        self.blobs.write(RECEIPTS, f"{key_of(routed.source)}/{BEGUN}", msgspec.json.encode(routed))

    def begun_of(self, key: str) -> Routed | None:
        """What was known of a file when its account was opened, None where it was not or is settled.

        Raises:
            ContractBroken: That cannot be read.
        """
        return self._read(f"{key}/{BEGUN}", Routed)

    def routed(self, routed: Routed) -> None:
        """Keep what routing gave; before the end markers are sent. Whoever comes first is right."""
        key = key_of(routed.source)
        self.blobs.create(RECEIPTS, f"{key}/{ROUTE}", msgspec.json.encode(routed))
        self.blobs.delete(RECEIPTS, f"{key}/{BEGUN}")

    def abandoned(self, begun: Routed) -> Routed:
        """Close the account of a file of which a part was sent and the rest is gone; what stands in it then."""
        key = key_of(begun.source)
        names = self.blobs.names(LETTERS, folder_of_letters(key))
        raws = [self.blobs.read(LETTERS, name) or b"" for name in names]
        rejected = Counter(letter.reason for raw in raws for letter in dead_letters.decode(raw))
        problem = "replaced: it was replaced or deleted when only a part of it had been read; that part counts"
        routed = msgspec.structs.replace(begun, rejected=dict(rejected), problem=problem, abandoned=True)
        self.routed(routed)
        return self.route_of(key) or routed

    def ended(self, state: State, source: str) -> None:
        """Write a partition's receipt of a file whose end marker it has committed; finish the file if it can be."""
        if not source.startswith(FILE_PREFIX):
            return
        tally = state.sources[source]
        receipt = Receipt(
            source=source,
            partition=state.partition,
            totals=_totals(self.task.losses, tally.totals),
            daily={day: sums.tolist() for day, sums in tally.daily.items()},
            first_hour=tally.first_hour,
            last_hour=tally.last_hour,
            model=state.models[-1] if state.models else None,
        )
        name = f"{key_of(source)}/{receipt_name(state.partition)}"
        self.blobs.write(RECEIPTS, name, msgspec.json.encode(receipt))
        try:
            self.finish(key_of(source))
        except ContractBroken:  # one file's books must not hold the readings up; every sweep says it again
            log.exception("books of %s are damaged", key_of(source))

    def finish(self, key: str) -> bool:
        """Write a file's summary and report when route and all partitions have spoken; whether it is finished.

        Raises:
            ContractBroken: One of their documents cannot be read.
        """
        names = self.blobs.names(RECEIPTS, f"{key}/")
        if f"{key}/done" in names:
            return True
        if (routed := self.route_of(key)) is None:
            return False
        read = [self._read(name, Receipt) for name in names if name.startswith(f"{key}/partition=")]
        receipts = [receipt for receipt in read if receipt is not None]
        if len(receipts) < routed.partitions:
            return False
        seconds = (self.clock.now_ms() - routed.started_ms) / 1000
        summary = summarise(self.task.losses, routed, receipts, seconds)
        whole = sum(summary[name] for name in ARRIVED) == routed.rows_accepted
        self.publish(routed.file, routed.source, summary, routed if whole else None)
        return True

    def publish(self, file: str, source: str, summary: Mapping[str, Any], whole: Routed | None = None) -> None:
        """Write a summary, its report, by what a `whole` file is known again, and the mark that says it is done."""
        folder = folder_of(file, source)
        words, tick_s = self.task.words, self.task.scenario.resolution_s
        page = file_report(summary, title=words.title, unit=words.unit, resolution_s=tick_s)
        self.blobs.write(REPORTS, f"{folder}/report.html", page.encode())
        body = msgspec.json.format(msgspec.json.encode(summary), indent=2)
        self.blobs.write(REPORTS, f"{folder}/summary.json", body)
        if whole is not None and whole.identity:
            drops.keep(self.blobs, whole.identity, drops.Dropped(file=file, source=source, read_ms=whole.started_ms))
        self.blobs.write(RECEIPTS, f"{key_of(source)}/done", folder.encode())

    def waiting_for(self, key: str, routed: Routed) -> list[int]:
        """Partitions that have not answered for a file."""
        names = self.blobs.names(RECEIPTS, f"{key}/partition=")
        return [number for number in range(routed.partitions) if f"{key}/{receipt_name(number)}" not in names]

    def listing(self) -> FileListing:
        """Which files are unfinished and which are known, from one listing."""
        names = [name for name in self.blobs.names(RECEIPTS) if not name.startswith(drops.FOLDER)]
        done = {name.split("/")[0] for name in names if name.endswith("/done")}
        routed = {name.split("/")[0] for name in names if name.endswith(f"/{ROUTE}")}
        return FileListing(sorted({name.split("/")[0] for name in names} - done), done | routed)

    def _read(self, name: str, kind: type[Record]) -> Record | None:
        raw = self.blobs.read(RECEIPTS, name)
        return None if raw is None else decoded(raw, kind, f"{RECEIPTS}/{name}")


def _totals(losses: Losses, totals: Longs) -> dict[str, int]:
    """Sums by name, without rare ones that are nought."""
    named = zip(losses.totals, totals.tolist(), strict=True)
    return {name: total for name, total in named if total or name not in RARE}


def summarise(losses: Losses, routed: Routed, receipts: Sequence[Receipt], seconds: float) -> dict[str, Any]:
    """A file's summary from its routing and the partitions' receipts."""
    totals = {name: sum(receipt.totals[name] for receipt in receipts) for name in losses.totals if name not in RARE}
    totals |= {name: sum(receipt.totals.get(name, 0) for receipt in receipts) for name in RARE}
    if routed.abandoned:
        accepted = sum(totals[name] for name in (*ARRIVED, "refused"))
        rows = accepted + sum(routed.rejected.values())
        routed = msgspec.structs.replace(routed, rows_in=rows, rows_accepted=accepted)
    rare = {name: found for name in SELDOM if (found := getattr(routed, name))}
    first = [receipt.first_hour for receipt in receipts if receipt.first_hour >= 0]
    models = sorted({receipt.model for receipt in receipts if receipt.model}, key=lambda name: (name != FLOOR, name))
    return {
        "status": "done" if routed.problem is None else "incomplete",
        "reason": None if routed.problem is None else routed.problem.split(":")[0],
        "detail": routed.problem,
        "file": routed.file,
        "etag": routed.etag,
        "rows_in": routed.rows_in,
        "rows_accepted": routed.rows_accepted,
        "rows_rejected": sum(routed.rejected.values()),
        "rejected": routed.rejected,
        **({"examples": routed.examples} if routed.examples else {}),
        **({} if routed.with_target is msgspec.UNSET else {"rows_with_target": routed.with_target}),
        **rare,
        **{name: totals[name] for name in COUNTED},
        **{name: totals[name] for name in RARE if totals[name]},
        **losses.file_scores(totals),
        "model_version": models[-1] if models else None,
        "devices": None if routed.abandoned else routed.devices,
        "first": _iso(min(first)) if first else None,
        "last": _iso(max(receipt.last_hour for receipt in receipts)) if first else None,
        "ignored": routed.ignored,
        "converted": routed.converted,
        "daily": _daily(receipts, losses),
        "seconds": round(seconds, 3),
    }


def _daily(receipts: Sequence[Receipt], losses: Losses) -> list[dict[str, Any]]:
    days: dict[int, list[int]] = {}
    for receipt in receipts:
        for day, sums in receipt.daily.items():
            old = days.get(day, [0] * len(losses.daily))
            days[day] = [a + b for a, b in zip(old, sums, strict=True)]
    out = []
    for day in sorted(days):
        found = dict(zip(losses.daily, days[day], strict=True))
        out.append(
            {
                "day": _iso(day * DAY_HOURS)[:10],
                "rows": found["rows"],
                "forecasts": found["forecasts"],
                **losses.day_scores(found),
            }
        )
    return out


def _iso(hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, timezone.utc).strftime("%Y-%m-%dT%H:%MZ")
