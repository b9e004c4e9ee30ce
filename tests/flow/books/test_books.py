"""The books: they balance whatever happened, and name every place where somebody tampered with what is stored."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from local.books.recount import as_json
from local.inspect.show import show_books
from shared.core.intake import dead_letters, progress
from shared.core.stream.events import Event
from shared.core.stream.packing import pack
from shared.errors import TransientFailure
from tests.kit import CSV, SCENARIO, MemoryStream, fixed, message, readings, row
from tests.kit.whole import DEVICES, READINGS, Whole, write_log

SHARES = ("applied", "stored_late", "duplicates", "dead_lettered")
HOURS = 14


def busy(folder: Path) -> Whole:
    """Files, messages, repetitions, late ones, rubbish, conflicts, an unreadable event, and dead letters fed back."""
    whole = Whole(folder)
    for partition, device in enumerate(("a", "g")):
        rows = [row(device, hour, pm=hour) for hour in range(HOURS)]
        whole.drop(f"{device}.csv", "\n".join([CSV, *rows, row(device, 3, pm=-1), "x,y"]))
        whole.hear(*(message(device, hour, pm=hour) for hour in range(HOURS - 3, HOURS + 6)), partition=partition)
        whole.hear(b"garbage", message(device, 2, pm=99), message(device, HOURS, pm=2000), partition=partition)
        whole.hear(b"[" + message(device, HOURS + 6) + b"," + message(device, HOURS + 6, pm=3000) + b"]", b"[]")
        whole.hear(message(device, HOURS + 5, pm=HOURS + 5), partition=partition)
    whole.readings.send(0, [b"no event"])
    whole.drop("empty.csv", "")
    whole.drop("a.csv", "\n".join([CSV, row("a", 1, pm=1), row("a", HOURS + 7)]))
    whole.score()
    whole.restart(fixed(maximum=2500))
    whole.resubmit()
    again = whole.readings.logs[0][:3]
    whole.readings.send(0, [event.body for event in again])
    whole.score()
    return whole


@pytest.fixture
def whole(tmp_path: Path) -> Whole:
    return busy(tmp_path / "logs")


def test_the_books_of_a_busy_day_balance(whole: Whole) -> None:
    found = whole.books()
    assert found.problems == []
    sums = found.totals()
    assert sums["arrived"] == sum(sums[name] for name in SHARES)
    assert {name for name in (*SHARES, "redelivered") if not sums[name]} == set()
    assert (sums["waiting"], sums["expired"]) == (0, 0)
    told = as_json(found)
    assert told["books_balance"] is True
    assert told["problems"] == []
    assert told["arrived"] == sums["arrived"]


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_books_of_a_file_that_went_when_a_part_of_it_was_sent_balance(how: str, tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.application.route_file = replace(whole.application.route_file, chunk_rows=2, stream=Once(whole.readings))
    rows = [CSV, row(hour=0), row("", hour=1), *(row(hour=hour) for hour in range(2, 8))]
    with pytest.raises(TransientFailure):
        whole.drop("x.csv", "\n".join(rows))
    whole.score()
    assert any("it is not read to its end yet" in problem for problem in whole.books().problems)
    if how == "deleted":
        whole.blobs.delete("incoming", "x.csv")
    else:
        whole.drop("x.csv", "\n".join([CSV, row("g")]))
    whole.application.sweep()
    whole.score()
    found = whole.books()
    assert found.problems == []
    sums = found.totals()
    assert sums["arrived"] == sum(sums[name] for name in SHARES)
    assert (sums["applied"], sums["dead_lettered"]) == (1 + (how == "replaced"), 1)
    assert any("only a part of it had been read" in note for note in found.notes)
    (name,) = whole.blobs.names("dead-letter", "file=")
    (first,) = dead_letters.decode(whole.blobs.read("dead-letter", name) or b"")
    later = dead_letters.encode([msgspec.structs.replace(first, position=first.position + 1)])
    whole.blobs.write("dead-letter", f"{name.split('/')[0]}/later.jsonl", later)
    assert whole.books().problems == [], "a slow reader may write on for a while"


class Once(MemoryStream):
    """Another hub, of which only the first send arrives, until it has failed."""

    def __init__(self, hub: MemoryStream) -> None:
        super().__init__(0)
        self.hub, self.count = hub, 0

    def partitions(self) -> int:
        return self.hub.partitions()

    def send(self, partition: int, bodies: Sequence[bytes]) -> None:
        self.count += 1
        if self.count == 2:
            raise TransientFailure("the hub does not answer")
        self.hub.send(partition, bodies)


def alone(hour: int, pm: int) -> str:
    """A row that has nothing but its pm."""
    return f"{row(hour=hour, pm=pm).rsplit(',', 2)[0]},,"


def test_books_of_a_file_with_more_rejected_rows_than_it_may_leave_letters_balance(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.application.route_file = replace(whole.application.route_file, most_letters=2)
    whole.drop("x.csv", "\n".join([CSV, row(), *(alone(hour, pm=2000) for hour in range(1, 6))]))
    whole.score()
    found = whole.books()
    assert found.problems == []
    assert (found.totals()["arrived"], found.totals()["dead_lettered"]) == (3, 2)
    assert "file 'x.csv': 3 of its rejected rows have no dead letter, being more than a file may leave" in found.notes
    whole.restart(fixed(maximum=2500))
    assert whole.resubmit() == {"tried": 2, "accepted": 2, "kept": 0}
    whole.score()
    assert whole.books().problems == []


def test_books_of_nothing_balance(tmp_path: Path) -> None:
    found = Whole(tmp_path).books()
    assert found.balance
    assert set(found.totals().values()) == {0}


def test_books_count_what_the_application_has_not_written(tmp_path: Path) -> None:
    """What arrived comes from the hub's log and the files alone."""
    whole = Whole(tmp_path)
    whole.hear(message(hour=0), message(hour=0), message(hour=1), b"garbage", message(hour=1, pm=7))
    whole.drop("f.csv", "\n".join([CSV, row("g", 0), row("g", 1, pm="x"), row("", 2)]))
    whole.score()
    sums = whole.books().totals()
    expected = {"arrived": 8, "applied": 4, "duplicates": 1, "dead_lettered": 3, "stored_late": 0, "redelivered": 0}
    assert sums == {**expected, "expired": 0, "waiting": 0}


def test_what_waits_is_told_and_does_not_balance_yet(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.hear(message(hour=0), message("g", 1))
    log = whole.devices.logs[1]
    log.append(Event(0, log[-1].enqueued_ms if log else 1_600_000_000_000, message()))
    problems = whole.books().problems
    assert "partition 0: 1 readings wait for a commit" in problems
    assert "partition 1: 1 readings wait for a commit" in problems
    assert "devices' partition 1: 1 messages wait to be routed" in problems
    assert not whole.books().balance


def test_messages_that_expired_are_counted_beside_the_books(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.hear(message(hour=0))
    whole.devices.logs[0] += [Event(1, 1_600_000_000_000, message(hour=1)), Event(2, 1_600_000_000_000, b"")]
    whole.devices.logs[0], gone = [], whole.devices.logs[0]
    whole.routers[0].take([Event(3, gone[0].enqueued_ms + 9, message(hour=3))])
    assert whole.books().totals()["expired"] == 2


Tamper = Callable[[Whole], None]


def lose(container: str, prefix: str = "", place: int = 0) -> Tamper:
    def work(whole: Whole) -> None:
        whole.blobs.delete(container, whole.blobs.names(container, prefix)[place])

    return work


def shorten(prefix: str) -> Tamper:
    """A blob of dead letters loses its first line."""

    def work(whole: Whole) -> None:
        name = next(n for n in whole.blobs.names("dead-letter", prefix) if _lines(whole, n) > 1)
        raw = whole.blobs.read("dead-letter", name) or b""
        whole.blobs.write("dead-letter", name, raw.split(b"\n", 1)[1])

    return work


def _lines(whole: Whole, name: str) -> int:
    return (whole.blobs.read("dead-letter", name) or b"").count(b"\n")


def claim(**counts: Any) -> Tamper:
    """The progress blob of the devices' first partition says something else."""

    def work(whole: Whole) -> None:
        at = progress.decode(whole.blobs.read(progress.CONTAINER, progress.name_of(0)) or b"")
        raw = progress.encode(msgspec.structs.replace(at, **counts))
        whole.blobs.write(progress.CONTAINER, progress.name_of(0), raw)

    return work


def claim_of_file(**fields: Any) -> Tamper:
    """What route says of a file is altered."""

    def work(whole: Whole) -> None:
        name = next(n for n in whole.blobs.names("receipts") if n.endswith("/route.json"))
        told = msgspec.json.decode(whole.blobs.read("receipts", name) or b"")
        whole.blobs.write("receipts", name, msgspec.json.encode({**told, **fields}))

    return work


def swap_commits(whole: Whole) -> None:
    """A commit is replaced by another one's content."""
    first, second = whole.blobs.names("commits", "partition=00/")[:2]
    whole.blobs.write("commits", first, whole.blobs.read("commits", second) or b"")


def swap_predictions(whole: Whole) -> None:
    names = whole.blobs.names("predictions")
    sizes = {
        len(whole.files.read_predictions(whole.blobs.read("predictions", n) or b"")["device_id"]): n for n in names
    }
    (_, few), (_, many) = min(sizes.items()), max(sizes.items())
    assert few != many
    whole.blobs.write("predictions", few, whole.blobs.read("predictions", many) or b"")


def double(whole: Whole) -> None:
    """An event stands in the hub's log once more, where a commit already counted another one."""
    log = whole.readings.logs[1]
    log.insert(1, log[0])
    whole.readings.logs[1] = [Event(n, event.enqueued_ms, event.body) for n, event in enumerate(log)]


def foreign(whole: Whole) -> None:
    """Readings of a known source that it never sent."""
    rows = [(10**9, "g", 25_300_000, (1.0, 0.0, 0.0))]
    whole.readings.send(0, list(pack("hub/1.0", SCENARIO.channel_names, readings(rows))))
    whole.score()


def silence(whole: Whole) -> None:
    """A message vanishes from the devices' log."""
    log = whole.devices.logs[0]
    del log[0]
    whole.devices.logs[0] = [Event(n, event.enqueued_ms, event.body) for n, event in enumerate(log)]


def forget_replay(whole: Whole) -> None:
    names = whole.blobs.names("progress", "replay/")
    whole.blobs.delete(
        "progress", next(n for n in names if b'"records":0' not in (whole.blobs.read("progress", n) or b""))
    )


TAMPERINGS: dict[str, tuple[Tamper, str]] = {
    "a lost commit": (lose("commits", "partition=00/", 2), "partition 0: events .* are in no commit"),
    "the last commit lost": (lose("commits", "partition=01/", -1), "partition 1: .* readings"),
    "a commit with another one's content": (swap_commits, "partition 0: events .* are in no commit"),
    "lost predictions": (lose("predictions"), "predictions/.* is missing"),
    "other predictions": (swap_predictions, r"commit \d+ says \d+ predictions, \d+ found"),
    "a lost dead letter of a device": (shorten("hub/0.0/"), "devices' partition 0: .* records rejected"),
    "lost dead letters of a file": (lose("dead-letter", "file="), "file '.*': .* records rejected"),
    "lost dead letters of a partition": (lose("dead-letter", "partition="), "names 0 dead letters"),
    "progress that claims more accepted": (claim(accepted=999), "devices' partition 0: the log holds .* 999"),
    "progress that claims other reasons": (claim(rejected={"empty": 77}), "progress says .*'empty': 77"),
    "lost progress": (lose("progress", "partition=01"), "devices' partition 1: .* wait to be routed"),
    "a file that claims more rows": (claim_of_file(rows_accepted=99), "file .*: 99 readings accepted"),
    "a file that claims rejections": (claim_of_file(rejected={"columns": 5}), "file .*: 5 records rejected"),
    "a doubled event in the log": (double, "partition 1: .* readings in the log"),
    "readings that no source sent": (foreign, r"devices' partition 1: \d+ readings accepted, \d+ in commits"),
    "a message gone from the log": (silence, "devices' partition 0: the log holds"),
    "a forgotten replay": (forget_replay, "devices' partition 0: the log holds"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_tampering_is_named(name: str, whole: Whole) -> None:
    tamper, expected = TAMPERINGS[name]
    tamper(whole)
    found = whole.books()
    assert not found.balance
    assert any(re.search(expected, problem) for problem in found.problems), found.problems


def test_one_partition_s_fault_is_not_blamed_on_another(whole: Whole) -> None:
    lose("predictions", "partition=01/")(whole)
    assert all(problem.startswith("partition 1: ") for problem in whole.books().problems)


def test_a_log_of_other_hubs_is_not_counted(tmp_path: Path) -> None:
    whole = Whole(tmp_path / "logs")
    whole.hear(message(hour=0))
    whole.score()
    found = whole.books()
    write_log(tmp_path / "logs", "other", MemoryStream(1).logs)
    assert whole.books().totals() == found.totals()
    assert {DEVICES, READINGS} <= {path.name for path in (tmp_path / "logs").iterdir()}


def test_dropped_values_are_counted_again_and_a_difference_is_noted(tmp_path: Path) -> None:
    whole = Whole(tmp_path / "logs")
    whole.drop("x.csv", "\n".join([CSV, row("a", 0, "much"), row("a", 1, 2000), row("a", 2, 5)]))
    whole.hear(message("a", 3, 2000, wind=90), message("a", 4, "x", wind=400), message("a", 5, 5))
    whole.renew(DEVICES)
    whole.hear(message("a", 6, "y", wind=90), message("a", 7, 3000))
    whole.score()
    found = whole.books()
    assert (found.problems, found.dropped) == (
        [],
        {"pm": {"bad_value": 3, "out_of_range": 3}, "wind": {"out_of_range": 1}},
    )
    assert not [note for note in found.notes if "dropped values" in note]
    assert as_json(found)["dropped_values"] == found.dropped
    out = io.StringIO()
    show_books(Console(file=out, width=200), found)
    assert "values dropped from readings: pm 3 bad_value, pm 3 out_of_range, wind 1 out_of_range\n" in out.getvalue()
    name = progress.name_of(0)
    told = msgspec.json.decode(whole.blobs.read(progress.CONTAINER, name) or b"")
    told["dropped"]["pm"]["bad_value"] += 1
    whole.blobs.write(progress.CONTAINER, name, msgspec.json.encode(told))
    found = whole.books()
    (note,) = [note for note in found.notes if "dropped values" in note]
    assert "the log holds dropped values {'pm': {'bad_value': 1, 'out_of_range': 1}}" in note
    assert "progress counted {'pm': {'bad_value': 2, 'out_of_range': 1}}" in note
    assert found.problems == [], "an edit of the scenario would look the same"
