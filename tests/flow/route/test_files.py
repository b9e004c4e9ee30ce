"""Dropped files through the whole pipeline, from their bytes to their summary, on stores in memory."""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from local.fleet.__main__ import Fleet, airqo_like
from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.stores import scenario_files
from shared.app.route import file_letters
from shared.app.route.file_books import source_of
from shared.core.forecast.losses import TOTALS
from shared.core.intake import dead_letters
from shared.core.intake.readings import Floats, Parsed
from shared.core.intake.tables import LongTable, Progress
from shared.core.task.tasks import task_of
from shared.errors import BadEvent, ContractBroken, TransientFailure
from shared.ports import LoadModel
from shared.settings import Settings
from shared.wiring import Application, loading
from tests.kit import Faulty, HandClock, MemoryBlobs, MemoryStream, assemble, picture, tiny_model
from tests.kit.tiny_model import FEATURIZER, SCENARIO

HEADER = "device_id,timestamp,temp,precip,rel_humidity,wind_dir,wind_spd,atmos_press,pm25"
VALUES = "20.5,0,50,90,1.5,1010,33.5"
WAIT_H = SCENARIO.horizon + SCENARIO.lateness + 1
BATCH = 7


class Sends(MemoryStream):
    """A hub whose send number `fail_at` fails, before it arrives or after; `before` is called ahead of each."""

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions)
        self.count = 0
        self.fail_at = -1
        self.arrives_anyway = False
        self.before: Callable[[int], None] = lambda _: None

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        number = self.count
        self.count += 1
        self.before(number)
        if number == self.fail_at and not self.arrives_anyway:
            raise TransientFailure("the hub does not answer")
        super().send(partition, bodies)
        if number == self.fail_at:
            raise TransientFailure("the hub's answer got lost")


@dataclass
class Plant:
    """The pipeline in one process: files are dropped, routed and scored when told."""

    partitions: int = 3
    chunk_rows: int = 50_000
    model: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    load: LoadModel | None = None
    blobs: Faulty = field(default_factory=Faulty)
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.stream = Sends(self.partitions)
        self.pipeline = self.another()
        self.done = [0] * self.partitions
        if self.model:
            tiny_model.deploy(self.blobs)

    def another(self) -> Application:
        settings = Settings(chunk_rows=self.chunk_rows, model_refresh_s=0.0, snapshot_commits=3, **self.settings)
        return assemble(settings, self.blobs, self.stream, self.clock, load=self.load)

    def drop(self, name: str, data: bytes | str, **metadata: str) -> str:
        raw = data.encode() if isinstance(data, str) else data
        MemoryBlobs.write(self.blobs, "incoming", name, raw, metadata)
        return name

    def route(self, name: str, tries: int = 1) -> None:
        """Route a file, again after a failure, as the trigger does."""
        for left in reversed(range(tries)):
            try:
                self.pipeline.route_file(name)
                return
            except TransientFailure:
                if not left:
                    raise

    def score(self) -> None:
        """Score everything that is in the hub, a few events at a time."""
        for partition, log in enumerate(self.stream.logs):
            while self.done[partition] < len(log):
                part = log[self.done[partition] : self.done[partition] + BATCH]
                self.pipeline.score(partition, part)
                self.done[partition] += len(part)

    def process(self, name: str, data: bytes | str, **metadata: str) -> dict[str, Any]:
        """Drop, route and score a file; its summary."""
        self.route(self.drop(name, data, **metadata))
        self.score()
        return self.summary(name)

    def summaries(self, name: str) -> list[dict[str, Any]]:
        found = [json.loads(self.blobs.read("reports", n) or b"") for n in self.names("summary.json")]
        return [summary for summary in found if summary["file"] == name]

    def summary(self, name: str) -> dict[str, Any]:
        """The file's one summary, its books balanced."""
        (found,) = self.summaries(name)
        check_books(found)
        return found

    def names(self, end: str) -> list[str]:
        return [name for name in self.blobs.names("reports") if name.endswith(end)]

    def report(self, name: str) -> str:
        (found,) = [
            n for n in self.names("summary.json") if json.loads(self.blobs.read("reports", n) or b"")["file"] == name
        ]
        return (self.blobs.read("reports", found.replace("summary.json", "report.html")) or b"").decode()

    def letters(self) -> list[dead_letters.DeadLetter]:
        names = self.blobs.names("dead-letter")
        return [letter for name in names for letter in dead_letters.decode(self.blobs.read("dead-letter", name) or b"")]

    def predictions(self) -> pd.DataFrame:
        """Rows of all predictions that a commit names, read as anybody would."""
        parts = []
        for name in self.blobs.names("commits"):
            commit, _ = ParquetFiles(task_of(SCENARIO)).decode_commit(self.blobs.read("commits", name) or b"")
            if commit.predictions is not None:
                parts.append(pd.read_parquet(io.BytesIO(self.blobs.read("predictions", commit.predictions) or b"")))
        found = pd.concat(parts) if parts else pd.DataFrame({"device_id": [], "as_of": [], "revision": [], "value": []})
        assert not found.duplicated(["device_id", "as_of", "revision"]).any()
        return found

    def newest(self) -> dict[tuple[str, Any], float]:
        """The last forecast of every device and hour."""
        rows = self.predictions().sort_values("revision")
        return dict(zip(zip(rows["device_id"], rows["as_of"], strict=True), rows["value"].tolist(), strict=True))

    def rings(self) -> list[dict[str, Any]]:
        """Hours and waiting forecasts of every partition; revisions depend on how the stream was cut."""
        found = []
        for number in range(self.partitions):
            shown = picture(self.another_partition(number))
            found.append(
                {name: shown[name] for name in ("devices", "head", "sums", "counts", "minutes", "prints", "value")}
            )
        return found

    def another_partition(self, number: int) -> Any:
        pipeline = self.another()
        pipeline.score(number, [])
        return pipeline.score.held[number].recovered()


def check_books(summary: Mapping[str, Any]) -> None:
    """Every row is somewhere, once."""
    assert summary["rows_in"] == summary["rows_accepted"] + summary["rows_rejected"]
    assert summary["rows_rejected"] == sum(summary["rejected"].values())
    if summary["status"] != "refused" and summary.get("form") != "wide":
        became = sum(summary[name] for name in ("applied", "stored_late", "duplicates", "conflicts"))
        assert summary["rows_accepted"] == became


def table(rows: Sequence[str]) -> str:
    return "\n".join([HEADER, *rows]) + "\n"


def simple(devices: str = "ab", hours: int = 4, first: int = 0) -> str:
    stamps = [f"2024-03-{1 + hour // 24:02d}T{hour % 24:02d}:00Z" for hour in range(first, first + hours)]
    return table([f"{device},{stamp},{VALUES}" for stamp in stamps for device in devices])


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fleet of five stations over eleven days, with gaps and faults."""
    path = tmp_path_factory.mktemp("fleet") / "history.csv"
    Fleet(seed=3, stations=5, hours=11 * 24).write_csv(path)
    return path.read_text()


@pytest.fixture(scope="module")
def plant(history: str) -> Plant:
    """The history, routed and scored once; tests only look."""
    found = Plant()
    found.process("history.csv", history)
    return found


# what a good file ends in


def test_a_files_summary_counts_every_row(plant: Plant, history: str) -> None:
    summary = plant.summary("history.csv")
    frame = pd.read_csv(io.StringIO(history))
    assert (summary["status"], summary["reason"], summary["detail"]) == ("done", None, None)
    assert summary["rows_in"] == summary["applied"] == len(frame)
    assert summary["devices"] == frame["device_id"].nunique()
    assert summary["first"] == frame["timestamp"].min().replace(":00Z", "Z")
    assert summary["last"] == frame["timestamp"].max().replace(":00Z", "Z")
    assert summary["model_version"] == tiny_model.version_of(tiny_model.package_of())
    assert summary["forecasts"] == len(plant.predictions())
    assert sum(day["rows"] for day in summary["daily"]) == len(frame)
    assert sum(day["forecasts"] for day in summary["daily"]) == summary["forecasts"]


def test_every_hour_with_a_reading_is_forecast_once(plant: Plant, history: str) -> None:
    frame = pd.read_csv(io.StringIO(history), parse_dates=["timestamp"])
    found = plant.predictions()
    assert found["served"].all()
    assert set(plant.newest()) == set(zip(frame["device_id"], frame["timestamp"], strict=True))


def test_the_files_errors_are_those_that_pandas_finds_in_the_file_and_the_predictions(
    plant: Plant, history: str
) -> None:
    frame = pd.read_csv(io.StringIO(history), parse_dates=["timestamp"])
    truth = frame.rename(columns={"timestamp": "hour"})[["device_id", "hour", "pm25"]]
    found = plant.predictions().sort_values("revision").drop_duplicates(["device_id", "as_of"], keep="last")
    found = found.merge(truth.rename(columns={"hour": "target_time", "pm25": "truth"}), on=["device_id", "target_time"])
    found = found.merge(truth.rename(columns={"hour": "as_of", "pm25": "latest"}), on=["device_id", "as_of"])
    newest = frame.groupby("device_id")["timestamp"].max()
    final = found["as_of"] <= found["device_id"].map(newest) - pd.Timedelta(hours=WAIT_H)
    matured = found[final & found["truth"].notna()]
    paired = matured[matured["latest"].notna()]
    summary = plant.summary("history.csv")
    assert 300 < len(paired) < len(matured)
    assert (summary["matured"], summary["paired"]) == (len(matured), len(paired))
    model, floor = paired["value"] - paired["truth"], paired["latest"] - paired["truth"]
    for error, end in ((model, ""), (floor, "_persistence")):
        assert summary[f"mae{end}"] == pytest.approx(error.abs().mean(), abs=2e-3)
        assert summary[f"rmse{end}"] == pytest.approx(np.sqrt((error**2).mean()), abs=2e-3)
    for day, rows in paired.groupby(paired["as_of"].dt.strftime("%Y-%m-%d")):
        (told,) = [told for told in summary["daily"] if told["day"] == day]
        assert told["mae"] == pytest.approx((rows["value"] - rows["truth"]).abs().mean(), abs=2e-3)
    for day, rows in matured.groupby(matured["as_of"].dt.strftime("%Y-%m-%d")):
        (told,) = [told for told in summary["daily"] if told["day"] == day]
        assert told["mean_truth"] == pytest.approx(rows["truth"].mean(), abs=2e-3)
        assert told["mean_forecast"] == pytest.approx(rows["value"].mean(), abs=2e-3)


def test_the_report_stands_alone(plant: Plant) -> None:
    page = plant.report("history.csv")
    assert "<svg" in page
    assert not re.search(r"<script|src=|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "history.csv" in page


# what changes nothing


def test_the_same_delivery_again_and_the_same_file_read_once_more_change_nothing(history: str, plant: Plant) -> None:
    here = Plant()
    here.process("history.csv", history)
    rings, forecasts = here.rings(), here.newest()
    before = here.blobs.everything()
    here.route("history.csv")  # the trigger delivers it again
    assert here.blobs.everything() == before
    assert not any(len(log) > done for log, done in zip(here.stream.logs, here.done, strict=True))
    here.route(here.drop("history.csv", history, again="true"))  # a person drops it again: another ETag
    here.score()
    assert here.rings() == rings
    assert here.newest() == forecasts == plant.newest()
    first, second = sorted(here.summaries("history.csv"), key=lambda summary: summary["duplicates"])
    check_books(first)
    check_books(second)
    assert second["duplicates"] + second["stored_late"] == second["rows_in"] == first["applied"]
    assert second["duplicates"] > 100, "what is within the lateness is recognised, older rows are past forecasting"
    assert (second["applied"], second["forecasts"], second["conflicts"]) == (0, 0, 0)
    assert not here.letters()


def test_two_files_that_overlap_give_what_one_file_gives(history: str, plant: Plant) -> None:
    head, *rows = history.splitlines(keepends=True)
    here = Plant()
    third = len(rows) // 3
    one = here.process("one.csv", head + "".join(rows[: 2 * third]))
    two = here.process("two.csv.gz", gzip.compress((head + "".join(rows[third:])).encode()))
    assert two["duplicates"] + two["stored_late"] == one["rows_in"] - third
    assert one["applied"] + two["applied"] == len(rows)
    assert [set(ring["devices"]) for ring in here.rings()] == [set(ring["devices"]) for ring in plant.rings()]
    assert here.rings() == plant.rings()
    assert here.newest() == plant.newest()


@pytest.mark.parametrize("moment", range(12))
def test_two_routings_of_one_file_at_once_change_nothing(moment: int) -> None:
    alone, here = (Plant(partitions=2, chunk_rows=40) for _ in range(2))
    content = simple("abc", hours=40)
    alone.process("x.csv", content)
    here.drop("x.csv", content)
    rival = here.another()

    def interfere(number: int) -> None:
        if number == moment:
            here.stream.before = lambda _: None
            rival.route_file("x.csv")

    here.stream.before = interfere
    here.route("x.csv")
    here.score()
    assert (here.stream.before is interfere) == (moment >= alone.stream.count)
    assert here.rings() == alone.rings()
    assert here.newest() == alone.newest()
    assert strip(here.summary("x.csv")) == strip(alone.summary("x.csv"))


def strip(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name not in ("seconds", "redelivered", "etag")}


BAD_ROWS = ["a,2024-03-01T02:00Z,99,,,,,,", "a,never," + VALUES, ",2024-03-01T02:00Z," + VALUES]


@pytest.fixture(scope="module")
def eventful() -> tuple[str, Plant]:
    """A file with good rows, bad rows and a conflict, in several chunks, and what it gives undisturbed."""
    head, *rows = simple("abc", hours=40).splitlines()
    content = "\n".join([head, *rows[:50], *BAD_ROWS, rows[3].replace("33.5", "44.5"), *rows[50:]]) + "\n"
    found = Plant(partitions=2, chunk_rows=40)
    found.process("x.csv", content)
    return content, found


@pytest.mark.parametrize("anyway", [False, True], ids=["never arrives", "answer lost"])
@pytest.mark.parametrize("where", ["hub", "store"])
def test_a_routing_that_fails_anywhere_and_is_repeated_gives_the_same(
    eventful: tuple[str, Plant], where: str, anyway: bool
) -> None:
    content, undisturbed = eventful
    failures = 0
    while True:
        here = Plant(partitions=2, chunk_rows=40)
        here.drop("x.csv", content)
        if where == "hub":
            here.stream.fail_at, here.stream.arrives_anyway = failures, anyway
        else:
            here.blobs.fail_at, here.blobs.stored_anyway = here.blobs.count + failures, anyway
        try:
            here.route("x.csv")
            break
        except TransientFailure:
            failures += 1
        if failures % 2:
            here.score()  # what was sent is scored before the file comes again
        here.route("x.csv")
        here.score()
        assert here.rings() == undisturbed.rings()
        assert here.newest() == undisturbed.newest()
        assert strip(here.summary("x.csv")) == strip(undisturbed.summary("x.csv"))
        assert letters_of(here) == letters_of(undisturbed)
    assert failures == (undisturbed.stream.count if where == "hub" else 3), "begun, letters of a chunk, the route"


def letters_of(plant: Plant) -> list[tuple[str, int, str]]:
    return sorted((letter.reason, letter.position, letter.raw) for letter in plant.letters())


def test_a_scoring_that_fails_anywhere_and_is_repeated_gives_the_same(eventful: tuple[str, Plant]) -> None:
    content, undisturbed = eventful
    failures, last = 0, False
    while not last:
        here = Plant(partitions=2, chunk_rows=40)
        here.route(here.drop("x.csv", content))
        here.blobs.fail_at = here.blobs.count + failures
        try:
            here.score()
        except TransientFailure:
            here.score()
        last = here.blobs.count <= here.blobs.fail_at
        here.blobs.fail_at = -1
        failures += 1
        assert strip(here.summary("x.csv")) == strip(undisturbed.summary("x.csv"))
        assert here.rings() == undisturbed.rings()
        assert here.newest() == undisturbed.newest()
    assert failures >= 10


def check_done_for_good(here: Plant) -> None:
    """The file x.csv of 12 rows is finished, and another sweep sends nothing."""
    here.score()
    assert here.summary("x.csv")["rows_in"] == 12
    sent = here.stream.count
    here.pipeline.sweep()
    assert here.stream.count == sent


def test_the_sweeper_sends_end_markers_that_got_lost_and_finishes_the_file() -> None:
    here = Plant(partitions=2)
    here.drop("x.csv", simple("abc"))
    here.stream.fail_at = here.partitions  # a part for each, the marker of partition 0, and no other
    with pytest.raises(TransientFailure):
        here.route("x.csv")
    here.score()
    assert not here.summaries("x.csv")
    here.pipeline.sweep()
    check_done_for_good(here)


def test_the_sweeper_finishes_a_file_whose_last_receipt_did_not() -> None:
    here = Plant()
    here.process("x.csv", simple())
    (done,) = [name for name in here.blobs.names("receipts") if name.endswith("/done")]
    for name in [*here.names("summary.json"), *here.names("report.html")]:
        here.blobs.delete("reports", name)
    here.blobs.delete("receipts", done)
    here.pipeline.sweep()
    assert here.summary("x.csv")["applied"] == 8


def later(here: Plant, name: str, minutes: float) -> None:
    """Some minutes after a file was dropped."""
    info = here.blobs.info("incoming", name)
    assert info is not None
    here.clock.ms = info.modified_ms + int(minutes * 60_000)


def test_a_file_that_no_trigger_brought_is_read_after_an_hour() -> None:
    here = Plant(partitions=2)
    later(here, here.drop("x.csv", simple("abc")), 59)
    here.pipeline.sweep()
    assert here.stream.count == 0
    later(here, "x.csv", 61)
    here.pipeline.sweep()
    check_done_for_good(here)


def test_files_that_were_read_or_refused_are_not_missed_but_a_new_version_is() -> None:
    here = Plant()
    here.process("x.csv", simple())
    here.process("wide.csv", "no,columns\n1,2\n")
    sent, read = here.stream.count, []
    later(here, "wide.csv", 90)
    plain = here.blobs.open
    here.blobs.open = lambda *place: read.append(place[1]) or plain(*place)  # type: ignore[method-assign, func-returns-value]
    here.pipeline.sweep()
    assert (here.stream.count, read) == (sent, [])
    later(here, here.drop("x.csv", simple("d")), 61)
    here.pipeline.sweep()
    assert read == ["x.csv"]


def test_a_missed_file_that_cannot_be_read_for_now_holds_no_other_up_and_is_tried_for_ever() -> None:
    here = Plant()
    for name in ("x.csv", "y.csv"):
        later(here, here.drop(name, simple(name[0])), 61)
    for _ in range(7):
        here.stream.fail_at = here.stream.count
        with pytest.raises(TransientFailure):
            here.pipeline.sweep()
    here.score()
    assert here.summary("y.csv")["rows_in"] == 4
    here.pipeline.sweep()
    here.score()
    assert here.summary("x.csv")["rows_in"] == 4


def test_a_sweep_raises_the_first_problem_and_tells_the_others(caplog: pytest.LogCaptureFixture) -> None:
    here = Plant()
    folders = sorted(half_done(here, name) for name in ("a.csv", "b.csv", "c.csv"))
    for folder in folders[:2]:
        MemoryBlobs.write(here.blobs, "receipts", f"{folder}/route.json", b"{")
    with pytest.raises(ContractBroken, match=folders[0]):
        here.pipeline.sweep()
    assert folders[1] in caplog.text


def test_a_bug_that_one_file_trips_holds_no_other_up() -> None:
    here = Plant()
    bad, good = sorted(half_done(here, name) for name in ("a.csv", "b.csv"))
    receipt = f"{bad}/partition=01.json"
    told = json.loads(here.blobs.read("receipts", receipt) or b"")
    MemoryBlobs.write(here.blobs, "receipts", receipt, json.dumps({**told, "totals": {}}).encode())
    with pytest.raises(KeyError):
        here.pipeline.sweep()
    assert f"{good}/done" in here.blobs.names("receipts")


def test_a_missed_file_of_which_the_worker_dies_is_refused_after_five_tries() -> None:
    here = Plant()
    later(here, here.drop("x.csv", simple()), 61)

    def dies(_: int) -> None:
        raise MemoryError

    here.stream.before = dies
    for _ in range(5):
        with pytest.raises(MemoryError):
            here.pipeline.sweep()
    here.pipeline.sweep()
    found = here.summary("x.csv")
    assert (found["status"], found["reason"]) == ("refused", "unreadable")
    assert here.blobs.read("incoming", "x.csv") is not None
    here.pipeline.sweep()


def half_done(here: Plant, name: str) -> str:
    """Drop and read a file of which one receipt could not finish the books; name of its folder of receipts."""
    before = set(here.blobs.names("receipts"))
    here.process(name, simple(name[0]))
    (done,) = [found for found in {*here.blobs.names("receipts")} - before if found.endswith("/done")]
    for report in here.names("summary.json"):
        if here.blobs.read("receipts", done) == report.removesuffix("/summary.json").encode():
            here.blobs.delete("reports", report)
    here.blobs.delete("receipts", done)
    return done.removesuffix("/done")


DAMAGED = {"empty": b"", "cut": b"{", "bare": b"{}", "odd": b'{"source":"\xff"}', "deep": b'{"x":' + b"[" * 100_000}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("blob", ["route.json", "partition=01.json"])
def test_a_file_whose_books_are_damaged_is_named_by_every_sweep_and_holds_no_other_up(blob: str, raw: bytes) -> None:
    here = Plant()
    folders = {half_done(here, name): name for name in ("a.csv", "b.csv", "c.csv")}
    bad, *_ = sorted(folders)
    MemoryBlobs.write(here.blobs, "receipts", f"{bad}/{blob}", raw)
    later(here, here.drop("missed.csv", simple("d")), 61)
    for _ in range(2):
        with pytest.raises(ContractBroken, match=f"receipts/{bad}/{blob}: "):
            here.pipeline.sweep()
        here.score()
    assert here.summary("missed.csv")["rows_in"] == 4
    assert [len(here.summaries(name)) for folder, name in folders.items() if folder != bad] == [1, 1]
    assert not here.summaries(folders[bad])


def test_a_file_whose_books_are_damaged_does_not_stop_the_scoring(caplog: pytest.LogCaptureFixture) -> None:
    here = Plant()
    here.route(here.drop("x.csv", simple()))
    (route,) = here.blobs.names("receipts")
    MemoryBlobs.write(here.blobs, "receipts", route, b"{")
    here.score()
    assert f"{route}: " in caplog.text
    assert here.process("after.csv", simple("c"))["applied"] == 4


def test_a_missed_file_whose_count_of_tries_is_damaged_holds_no_other_up() -> None:
    here = Plant()
    later(here, here.drop("x.csv", simple()), 61)
    here.stream.fail_at = 0
    with pytest.raises(TransientFailure):
        here.pipeline.sweep()
    (counter,) = [name for name in here.blobs.names("receipts") if name.endswith("/tries")]
    MemoryBlobs.write(here.blobs, "receipts", counter, b"two")
    later(here, here.drop("y.csv", simple("c")), 61)
    with pytest.raises(ContractBroken, match=counter):
        here.pipeline.sweep()
    here.score()
    assert here.summary("y.csv")["rows_in"] == 4


def test_a_sweep_lists_the_receipts_of_all_files_once() -> None:
    here, listed = Plant(), []
    later(here, here.drop("x.csv", simple()), 61)
    plain = here.blobs.names
    here.blobs.names = lambda *place: listed.append(place) or plain(*place)  # type: ignore[method-assign, func-returns-value]
    here.pipeline.sweep()
    assert listed.count(("receipts",)) == 1


# what is refused, wholly or in part


def test_bad_rows_go_to_the_dead_letter_with_reason_and_original_bytes(eventful: tuple[str, Plant]) -> None:
    content, plant = eventful
    summary = plant.summary("x.csv")
    assert (summary["status"], summary["rows_in"], summary["conflicts"]) == ("done", 124, 1)
    assert summary["rejected"] == {"out_of_range": 1, "bad_time": 1, "missing_device": 1}
    lines = content.splitlines()
    rejected = [letter for letter in plant.letters() if letter.reason != "conflict"]
    assert [(letter.reason, letter.position) for letter in rejected] == [
        ("out_of_range", 51),
        ("bad_time", 52),
        ("missing_device", 53),
    ]
    for letter in rejected:
        assert letter.original().decode() == lines[letter.position]
        assert letter.source.startswith("file/x.csv@")
    (conflict,) = [letter for letter in plant.letters() if letter.reason == "conflict"]
    assert (conflict.position, json.loads(conflict.raw)["pm25"]) == (54, 44.5)
    page = plant.report("x.csv")
    assert set(summary["examples"]) == summary["rejected"].keys()
    for letter in rejected:
        example = summary["examples"][letter.reason]
        assert f"at position {letter.position}: '{lines[letter.position][:40]}" in example
        assert letter.reason in page
        assert f"at position {letter.position}" in page


REFUSED: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "empty_file", "0 bytes, none of them a row"),
    "blank": (b" \r\n\n", "empty_file", "none of them a row"),
    "header only": (HEADER.encode() + b"\n", "empty_file", "a header without rows"),
    "empty gzip": (gzip.compress(b""), "empty_file", "none of them a row"),
    "gzip cut in its header": (
        gzip.compress(simple().encode())[:12],
        "truncated",
        "the gzip stream ends early, before the first row",
    ),
    "duplicated column": (
        simple().replace("temp,", "temp,temp,", 1).encode(),
        "duplicate_header",
        "both stand for temp",
    ),
    "no time": (b"device_id,temp\na,1\n", "header", "time"),
    "unknown columns": (b"x,y\n1,2\n", "header", "device"),
    "unknown unit": (simple().replace("temp,", "temp (furlong),").encode(), "unit", "temp"),
    "workbook": (b"PK\x03\x04" + b"0" * 100, "format", "Excel"),
    "UTF-32": (simple().encode("utf-32"), "format", "UTF-32"),
}


@pytest.mark.parametrize(("content", "reason", "detail"), REFUSED.values(), ids=REFUSED.keys())
def test_a_file_that_is_of_no_use_is_refused_with_its_reason(content: bytes, reason: str, detail: str) -> None:
    here = Plant()
    summary = here.process("x.csv", content)
    assert (summary["status"], summary["reason"]) == ("refused", reason)
    assert detail in summary["detail"]
    assert (summary["rows_in"], summary["rows_accepted"]) == (0, 0)
    assert not any(here.stream.logs)
    assert here.blobs.read("incoming", "x.csv") == content, "it stays where it is"
    words = " ".join(re.sub(r"<[^>]+>", "", here.report("x.csv")).split())
    assert summary["detail"] in html.unescape(words)
    assert not here.pipeline.file_books.listing().unfinished
    assert here.process("after.csv", simple())["applied"] == 8


def test_a_truncated_gzip_gives_what_stood_before_and_says_so() -> None:
    rows = [
        f"a,2024-03-{1 + h // 24:02d}T{h % 24:02d}:00Z,{h % 30}.{h % 7},0,50,{h * 37 % 360},1.5,1010,{h * 91 % 500}"
        for h in range(400)
    ]
    whole = gzip.compress(table(rows).encode())
    here = Plant()
    summary = here.process("cut.csv.gz", whole[: len(whole) // 2])
    assert (summary["status"], summary["reason"]) == ("incomplete", "truncated")
    assert "the gzip stream ends early" in summary["detail"]
    assert 100 < summary["applied"] < 300
    assert summary["rejected"] in ({}, {"truncated": 1})
    assert summary["rows_in"] - summary["rows_accepted"] <= 1
    mended = here.process("whole.csv.gz", whole)
    assert mended["duplicates"] + mended["stored_late"] == summary["applied"]
    assert mended["rows_in"] - mended["applied"] == summary["applied"]


@pytest.mark.parametrize("zone", ["Mars/Olympus", "+99:00", "../../etc/passwd", "<b>"])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    summary = Plant().process("x.csv", simple(), zone=zone)
    assert (summary["status"], summary["reason"]) == ("refused", "zone")
    assert zone[:4] in summary["detail"]


@pytest.mark.parametrize("name", ["zone", "Zone", "ZONE"])
def test_the_declared_zone_is_found_however_its_name_is_written(name: str) -> None:
    here = Plant()
    content = table([f"a,2024-03-01 0{hour}:00,{VALUES}" for hour in range(4)])
    assert here.process("x.csv", content, **{name: "+08:00"})["first"] == "2024-02-29T16:00Z"
    here.process("y.csv", table([f"a,never,{VALUES}"]), **{name: "+08:00"})
    assert [letter.zone for letter in here.letters()] == ["+08:00"]


def test_local_times_read_as_utc_stand_in_the_future_and_are_refused_row_by_row() -> None:
    """A file written just now in Shanghai: its newest eight hours have not happened yet in UTC."""
    now = pd.Timestamp.now("UTC").floor("min")
    stamps = [(now - pd.Timedelta(hours=h)).tz_convert("Asia/Shanghai").strftime("%Y-%m-%d %H:%M") for h in range(12)]
    content = table([f"a,{stamp},{VALUES}" for stamp in reversed(stamps)])
    wrong, right = Plant(), Plant()
    summary = wrong.process("x.csv", content)
    assert summary["status"] == "done"
    assert summary["rejected"] == {"future": 8}
    assert "when it arrived" in wrong.letters()[0].detail
    assert right.process("x.csv", content, zone="Asia/Shanghai")["applied"] == 12
    listed = Plant().process("x.csv", content.replace("\na,", "\nDongsi,"))
    assert listed["applied"] == 12, "the scenario knows the station's own zone"


def test_a_header_that_comes_again_in_the_middle_is_a_bad_row() -> None:
    summary = Plant().process("x.csv", simple() + simple(first=4))
    assert (summary["rows_in"], summary["applied"]) == (17, 16)
    assert summary["rejected"] == {"duplicate_header": 1}


def test_a_file_says_in_how_many_rows_what_is_forecast_is_known_and_which_columns_were_not_used() -> None:
    here = Plant()
    lines = ["device_id,timestamp,temp,pm25,colour", *(f"a,2017-12-01T{h:02}:00Z,1,{h or ''},red" for h in range(8))]
    summary = here.process("x.csv", "\n".join(lines))
    assert (summary["rows_accepted"], summary["rows_with_target"], summary["ignored"]) == (8, 7, ["colour"])
    without = "\n".join(line.replace("pm25", "pm25x") for line in lines)
    assert Plant().process("x.csv", without)["rows_with_target"] == 0


@pytest.mark.parametrize("name", ["a\nb.csv", "\x1b[31m.csv"])
def test_a_blobs_name_reaches_the_log_escaped(name: str, caplog: pytest.LogCaptureFixture) -> None:
    Plant().pipeline.route_file(name)
    (line,) = caplog.messages
    assert "is gone; nothing to route" in line
    assert line.isprintable()


def test_a_file_of_bad_rows_only_ends_well() -> None:
    here = Plant()
    summary = here.process("x.csv", table([f"a,never,{VALUES}"] * 1000))
    assert (summary["status"], summary["rows_in"], summary["rows_accepted"]) == ("done", 1000, 0)
    assert summary["rejected"] == {"bad_time": 1000}
    assert summary["examples"].keys() == {"bad_time"}
    assert summary["rows_with_target"] == 0
    assert (summary["first"], summary["last"], summary["mae"]) == (None, None, None)
    assert len(here.letters()) == 1000
    assert "1,000 rows were read, 0.0 % of them accepted" in here.report("x.csv")


def test_an_unknown_station_is_accepted_or_refused_as_the_scenario_says(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Plant().process("x.csv", simple("z"))["applied"] == 4
    strict = replace(SCENARIO, unlisted_stations="reject")
    monkeypatch.setattr(scenario_files, "load", lambda _: strict)
    here = Plant()
    summary = here.process("x.csv", simple("z") + simple().splitlines()[1].replace("a,", "Dongsi,", 1) + "\n")
    assert (summary["status"], summary["applied"], summary["rejected"]) == ("done", 1, {"unknown_station": 4})
    assert "'z' is not a station of air_quality" in here.letters()[0].detail


HOSTILE = [
    "../../../etc/passwd",
    "a/b\\c",
    "...",
    "quote'\"`",
    "🌫️ Ünïcødé",
    "<script>alert(1)</script>",
    "'; DROP TABLE readings; --",
    "=HYPERLINK(1)",
    "partition=00/epoch=00000",
    "%00%2e",
    "null x",
    "x" * 128,
]


def test_hostile_device_ids_are_just_ids() -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(HEADER.split(","))
    for hour in range(3):
        for name in HOSTILE:
            writer.writerow([name, f"2024-03-01T0{hour}:00Z", *VALUES.split(",")])
    writer.writerow(["<script>" * 20, "2024-03-01T00:00Z", *VALUES.split(",")])
    writer.writerow(["tab\tinside", "2024-03-01T00:00Z", *VALUES.split(",")])
    here = Plant()
    summary = here.process("ids.csv", out.getvalue())
    assert (summary["status"], summary["applied"], summary["devices"]) == ("done", 3 * len(HOSTILE), len(HOSTILE))
    assert summary["rejected"] == {"device_id": 2}
    assert {device for device, _ in here.newest()} == set(HOSTILE)
    assert {device for ring in here.rings() for device in ring["devices"][0:]} == set(HOSTILE)
    check_markup(here.report("ids.csv"))
    for container in ("commits", "predictions", "state", "receipts", "reports", "dead-letter"):
        for name in here.blobs.names(container):
            assert re.fullmatch(r"[A-Za-z0-9=._/-]+", name)
            assert ".." not in name


def check_markup(page: str) -> None:
    assert "<script" not in page.casefold()
    assert "javascript:" not in page.casefold()
    assert not re.search(r"<[^>]*\son\w+\s*=", page)


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>.csv",
        'quote" onmouseover="alert(1).csv',
        "../../up.csv",
        "deep/er/🌫️ ü.csv",
        "@0x1@.csv",
        "x" * 300 + ".csv",
        ".csv",
    ],
)
def test_hostile_file_names_are_just_names(name: str) -> None:
    here = Plant(partitions=1)
    bad_column = simple().replace("pm25", "pm25,<img src=x onerror=alert(1)>", 1).replace("33.5", "33.5,1")
    summary = here.process(name, bad_column)
    assert (summary["file"], summary["applied"]) == (name, 8)
    assert summary["ignored"] == ["<img src=x onerror=alert(1)>"]
    check_markup(here.report(name))
    (folder,) = {path.rpartition("/")[0] for path in here.blobs.names("reports")}
    assert re.fullmatch(r"files/[A-Za-z0-9._-]+-[0-9a-f]{8}", folder)
    assert ".." not in folder
    refused = here.process(name + ".txt", b"PK\x03\x04")
    assert refused["status"] == "refused"
    check_markup(here.report(name + ".txt"))


def test_files_with_like_names_do_not_share_a_folder() -> None:
    here = Plant()
    for name in ("a b.csv", "a_b.csv", "a/b.csv", "A_b.csv"):
        assert here.process(name, simple())["file"] == name
    assert len(here.names("summary.json")) == 4


def test_a_conflicting_file_keeps_what_came_first() -> None:
    here = Plant()
    here.process("one.csv", simple("a"))
    rings = here.rings()
    summary = here.process("two.csv", simple("a").replace("33.5", "99.5"))
    assert (summary["conflicts"], summary["applied"]) == (4, 0)
    assert here.rings() == rings
    assert {letter.reason for letter in here.letters()} == {"conflict"}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_other_formats_give_the_same_as_csv(kind: str) -> None:
    text, here = Plant(), Plant()
    text.process("x.csv", simple("abc", hours=30))
    frame = pd.read_csv(io.StringIO(simple("abc", hours=30)))
    data = frame.to_json(orient="records", lines=True).encode() if kind == "jsonl" else frame.to_parquet()
    summary = here.process(f"x.{kind}", data)
    assert summary["applied"] == 90
    assert here.rings() == text.rings()
    assert here.newest() == text.newest()


def test_a_file_that_is_gone_or_replaced_while_it_is_read_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    here = Plant()
    here.route("gone.csv")
    assert "nothing to route" in caplog.text
    here.drop("x.csv", simple())
    opened = here.blobs.open

    def replaced(container: str, name: str, etag: str) -> Any:
        here.blobs.open = opened  # type: ignore[method-assign]
        here.drop("x.csv", simple(hours=6))
        return opened(container, name, etag)

    here.blobs.open = replaced  # type: ignore[method-assign]
    here.route("x.csv", tries=2)
    here.score()
    assert here.summary("x.csv")["applied"] == 12


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_a_file_of_which_a_part_was_sent_before_it_went_keeps_an_account_of_that_part(how: str) -> None:
    here = Plant(partitions=2, chunk_rows=3)
    head, *rows = simple("abc").splitlines()
    here.drop("x.csv", "\n".join([head, rows[0], BAD_ROWS[0], *rows[1:]]) + "\n")
    here.stream.fail_at = 3  # parts of the second stretch are lost
    with pytest.raises(TransientFailure):
        here.route("x.csv")
    if how == "deleted":
        here.blobs.delete("incoming", "x.csv")
        here.route("x.csv")
    else:
        assert here.process("x.csv", simple("d"))["applied"] == 4
    here.pipeline.sweep()
    here.score()
    found = next(found for found in here.summaries("x.csv") if found["reason"] == "replaced")
    check_books(found)
    assert (found["status"], found["rejected"]) == ("incomplete", {"out_of_range": 1})
    assert 2 <= found["applied"] < 12
    assert (found["conflicts"], found["duplicates"]) == (0, 0)
    sent = here.stream.count
    here.pipeline.sweep()
    assert here.stream.count == sent
    assert not here.pipeline.file_books.listing().unfinished


def test_a_begun_file_that_is_still_there_is_left_to_those_who_read_it() -> None:
    here = Plant(partitions=2)
    here.drop("x.csv", simple("abc"))
    here.stream.fail_at = 1
    with pytest.raises(TransientFailure):
        here.route("x.csv")
    here.pipeline.sweep()
    assert not here.summaries("x.csv")
    here.route("x.csv")
    check_done_for_good(here)


def test_what_a_slower_reader_sends_of_a_file_whose_account_is_closed_leaves_its_books_alone() -> None:
    here = Plant(partitions=1, chunk_rows=2)
    slow = here.another()
    here.drop("x.csv", simple("a"))

    def goes(number: int) -> None:
        if number == 1:
            here.stream.before = lambda _: None
            here.drop("x.csv", simple("b"))
            here.pipeline.sweep()

    here.stream.before = goes
    info = here.blobs.info("incoming", "x.csv")
    assert info is not None
    source = source_of("x.csv", info)
    slow.route_file("x.csv")
    here.score()
    (found,) = [found for found in here.summaries("x.csv") if found["reason"]]
    check_books(found)
    assert (found["reason"], found["applied"], found["redelivered"]) == ("replaced", 2, 0)
    sums = dict(zip(TOTALS, here.another_partition(0).sources[source].totals.tolist(), strict=True))
    assert (sums["applied"], sums["redelivered"]) == (2, 2)


def test_a_file_that_turns_out_to_be_of_no_use_after_a_part_was_sent_keeps_an_account_of_that_part() -> None:
    here = Plant()
    route_file = here.pipeline.route_file

    def opened(*given: Any, **more: Any) -> LongTable:
        table, progress = route_file.open_table(*given, **more), Progress()
        assert isinstance(table, LongTable)

        def parts(_: Progress) -> Iterator[Parsed]:
            yield next(iter(table))
            raise BadEvent("format", "damaged beyond reading")

        return LongTable(parts, progress)

    here.drop("x.csv", simple("ab"))
    replace(route_file, open_table=opened, chunk_rows=3)("x.csv")
    here.score()
    found = here.summary("x.csv")
    assert (found["status"], found["detail"]) == ("incomplete", "format: damaged beyond reading")
    assert (found["rows_in"], found["applied"]) == (3, 3)


@pytest.mark.parametrize("most", [0, 1, 4, 5, 6])
def test_a_file_leaves_a_limited_number_of_dead_letters_and_the_rest_is_counted(most: int) -> None:
    here = Plant(chunk_rows=3, settings={"file_letters": most})
    good, bad = simple("a", hours=8).splitlines(), [f"a,never{i},{VALUES}" for i in range(5)]
    rows = [good[0], *(row for pair in zip(bad, good[1:6], strict=True) for row in pair), *good[6:]]
    found = here.process("x.csv", "\n".join(rows) + "\n")
    assert (found["rejected"], found["applied"]) == ({"bad_time": 5}, 8)
    assert [letter.original().decode() for letter in here.letters()] == bad[:most]
    assert found.get("letters_left_out", 0) == max(0, 5 - most)
    words = here.report("x.csv")
    assert (f"{5 - most} of them are more than a file may leave as dead letters" in words) == (most < 5)
    assert here.blobs.read("incoming", "x.csv") is not None


def test_a_file_s_dead_letters_are_limited_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_letters, "MOST_BYTES", 1000)
    here = Plant()
    found = here.process("x.csv", table([f"a,never,{VALUES}"] * 50))
    sizes = [len(here.blobs.read("dead-letter", name) or b"") for name in here.blobs.names("dead-letter")]
    assert 500 < sum(sizes) <= 1000
    assert found["letters_left_out"] == 50 - len(here.letters())


def test_without_a_model_the_baseline_forecasts_and_a_model_from_the_first_deployment_on() -> None:
    here = Plant(model=False)
    summary = here.process("one.csv", simple("a", hours=30))
    assert (summary["applied"], summary["forecasts"], summary["model_version"]) == (30, 0, "floor")
    assert summary["first_forecasts"] == 29  # all but that of the first hour
    tiny_model.deploy(here.blobs)
    summary = here.process("two.csv", simple("a", hours=30, first=30))
    assert (summary["forecasts"], "first_forecasts" in summary) == (30, False)
    assert here.pipeline.health()[1]["champion"] == summary["model_version"]


# wide files


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A look-alike of the AirQo competition's files: with and without the target."""
    folder: Path = tmp_path_factory.mktemp("wide")
    fleet = airqo_like(5, 60)
    fleet.write_wide(folder / "train.csv", 60)
    fleet.write_wide(folder / "test.csv", 60, target=False)
    return (folder / "train.csv").read_text(), (folder / "test.csv").read_text()


def forecasts_of(content: str) -> dict[str, float]:
    """What the model says to each row of a wide file, read and scored row by row without the application's reader."""
    model = tiny_model.loaded(tiny_model.package_of())
    found = {}
    for row in csv.DictReader(io.StringIO(content)):
        cells = {name: np.array([float(v) for v in row[name].split(",")]) for name in row if "," in (row[name] or "")}
        window = np.full((SCENARIO.history, len(SCENARIO.stored), 1), np.nan, np.float32)
        columns = {
            **cells,
            "atmos_press": np.where(cells["atmos_press"] < 110, cells["atmos_press"] * 10, cells["atmos_press"]),
        }
        angle = np.deg2rad(cells["wind_dir"].astype(np.float32))
        columns |= {"wind_dir_u": np.sin(angle), "wind_dir_v": np.cos(angle)}
        for place, name in enumerate(SCENARIO.stored):
            if name in columns:
                window[:, place, 0] = columns[name]
        (value,) = model.predict(FEATURIZER.matrix(window, np.array([-1])))
        found[row["ID"]] = float(np.clip(value, 0, 1000))
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_a_wide_file_is_answered_with_a_table_of_ids_and_forecasts(wide: tuple[str, str], packed: bool) -> None:
    content = wide[1]
    here = Plant(chunk_rows=17)
    name = "Test.csv.gz" if packed else "Test.csv"
    summary = here.process(name, gzip.compress(content.encode()) if packed else content)
    expected = forecasts_of(content)
    answer = (here.blobs.read(*summary["answer"].split("/", 1)) or b"").decode()
    assert answer == "ID,target\n" + "".join(f"{row},{value:.4f}\n" for row, value in expected.items())
    assert (summary["status"], summary["rows_in"], summary["forecasts"], summary["form"]) == ("done", 60, 60, "wide")
    assert (summary["matured"], summary["mae"], summary["converted"]) == (0, None, {"atmos_press": "kPa"})
    assert not any(here.stream.logs), "a wide file has no devices and no times"
    assert "Test.csv" in here.report(name)


def test_a_wide_file_with_targets_is_told_its_errors(wide: tuple[str, str]) -> None:
    content = wide[0]
    summary = Plant().process("Train.csv", content)
    expected = forecasts_of(content)
    truth = {row["ID"]: float(row["target"]) for row in csv.DictReader(io.StringIO(content))}
    off = np.array([expected[row] - truth[row] for row in truth])
    assert summary["matured"] == 60
    assert summary["mae"] == pytest.approx(np.abs(off).mean(), rel=1e-5)
    assert summary["rmse"] == pytest.approx(np.sqrt((off**2).mean()), rel=1e-5)


def test_bad_rows_of_a_wide_file_are_left_out_and_kept(wide: tuple[str, str]) -> None:
    head, *rows = wide[1].splitlines()
    rows[3] = rows[3].replace(",", ";", 1)
    rows[5] = re.sub(r'"[^"]*"', '"1,2,3"', rows[5], count=1)
    rows[7] = re.sub(r"^[^,]*", rows[6].split(",")[0], rows[7])
    here = Plant()
    summary = here.process("Test.csv", "\n".join([head, *rows]) + "\n")
    assert summary["forecasts"] == 57
    assert summary["rejected"] == {"columns": 1, "window": 1, "duplicate_id": 1}
    answer = (here.blobs.read(*summary["answer"].split("/", 1)) or b"").decode().splitlines()
    expected = forecasts_of("\n".join([head, *(row for i, row in enumerate(rows) if i not in (3, 5, 7))]))
    assert answer[1:] == [f"{row},{value:.4f}" for row, value in expected.items()]
    assert {letter.reason for letter in here.letters()} == {"columns", "window", "duplicate_id"}


def test_a_wide_file_without_a_model_is_refused_clearly(wide: tuple[str, str]) -> None:
    here = Plant(model=False)
    summary = here.process("Test.csv", wide[1])
    assert (summary["status"], summary["reason"]) == ("refused", "no_model")
    assert "drop the file again after the first deployment" in summary["detail"]
    tiny_model.deploy(here.blobs)
    here.route(here.drop("Test.csv", wide[1]))
    assert {found["status"] for found in here.summaries("Test.csv")} == {"refused", "done"}


@pytest.mark.parametrize("model", [True, False], ids=["answered", "refused"])
def test_an_answer_that_fails_anywhere_and_is_repeated_is_the_same(wide: tuple[str, str], model: bool) -> None:
    undisturbed = Plant(model=model)
    undisturbed.process("Test.csv", wide[1])
    failures = 0
    while True:
        here = Plant(model=model)
        here.drop("Test.csv", wide[1])
        here.blobs.fail_at = here.blobs.count + failures
        try:
            here.route("Test.csv")
            break
        except TransientFailure:
            failures += 1
        here.route("Test.csv")
        assert strip(here.summary("Test.csv")) == strip(undisturbed.summary("Test.csv"))
    assert failures == (4 if model else 3)


FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "'quoted", "''", "a=1", "ID_1"]


def test_no_id_of_an_answer_is_a_formula_and_each_can_be_had_back(wide: tuple[str, str]) -> None:
    head, *rows = wide[1].splitlines()
    content = "\n".join([head, *(f"{name},{row.partition(',')[2]}" for name, row in zip(FORMULAS, rows, strict=False))])
    here = Plant()
    answer = here.process("Test.csv", content + "\n")["answer"].removeprefix("reports/")
    found = [row["ID"] for row in csv.DictReader(io.StringIO((here.blobs.read("reports", answer) or b"").decode()))]
    assert not any(cell[0] in "=+-@\t" for cell in found)
    assert [cell.removeprefix("'") for cell in found] == FORMULAS


class Mute:
    """A model that loads, and answers nothing that is a number."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.manifest = loading(task_of(SCENARIO))(files).manifest

    def predict(self, matrix: Floats) -> Floats:
        return np.full(len(matrix), np.nan, np.float32)


def test_a_wide_file_that_the_champion_cannot_answer_is_refused_in_the_end(wide: tuple[str, str]) -> None:
    here, reads = Plant(load=Mute), []
    later(here, here.drop("Test.csv", wide[1]), 61)
    opened = here.blobs.open
    here.blobs.open = lambda *place: reads.append(place[1]) or opened(*place)  # type: ignore[method-assign, func-returns-value]
    for _ in range(5):
        assert not here.summaries("Test.csv")
        with pytest.raises(ContractBroken):
            here.pipeline.sweep()
    found = here.summary("Test.csv")
    assert (found["status"], found["reason"]) == ("refused", "no_answer")
    assert "drop it again when that is mended" in found["detail"]
    for _ in range(3):
        here.pipeline.sweep()
    assert reads == ["Test.csv"] * 5


def test_a_wide_file_delivered_again_gives_the_same_answer(wide: tuple[str, str]) -> None:
    here = Plant()
    here.process("Test.csv", wide[1])
    before = here.blobs.everything()
    here.route("Test.csv")
    assert here.blobs.everything() == before
