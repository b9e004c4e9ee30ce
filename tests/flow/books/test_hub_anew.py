"""The books after a hub was deleted and created anew: its log is gone, everything else is still recounted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from local.books.recount import Books, as_json
from shared.core.intake import progress
from shared.core.intake.progress import Progress
from shared.core.stream.events import Event
from shared.errors import TransientFailure
from tests.flow.route.test_route_events import Stores
from tests.kit import CSV, MemoryStream, fixed, message, row
from tests.kit.whole import DEVICES, READINGS, Whole

SHARES = ("applied", "stored_late", "duplicates", "dead_lettered")
Tamper = Callable[[Whole], None]


def a_day(whole: Whole, first: int) -> None:
    """Six hours of two devices on two partitions, with rubbish, a repetition, a conflict, and an array half wrong."""
    for partition, device in enumerate(("a", "g")):
        hours = range(first, first + 6)
        whole.hear(*(message(device, hour, pm=hour) for hour in hours), partition=partition)
        whole.hear(b"rubbish", message(device, first, pm=first), message(device, first + 5, pm=99), partition=partition)
        array = b"[" + message(device, first + 6) + b"," + message(device, first + 7, pm=2000) + b"]"
        whole.hear(array, b"", partition=partition)
    whole.score()


def in_three_lives(folder: Path, hub: str) -> Whole:
    """The hub is created anew twice."""
    whole = Whole(folder)
    whole.drop("f.csv", "\n".join([CSV, *(row("f", hour) for hour in range(5)), "x,y"]))
    for life in range(3):
        if life:
            whole.renew(hub)
            whole.restart()
        a_day(whole, 10 * life)
    return whole


def balanced(found: Books) -> dict[str, int]:
    """The totals, when there is nothing to find fault with."""
    assert found.problems == []
    sums = found.totals()
    assert sums["arrived"] == sum(sums[name] for name in SHARES)
    return sums


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Whole]:
    """Each hub after three lives, for reading only."""
    return {hub: in_three_lives(tmp_path_factory.mktemp("logs"), hub) for hub in (DEVICES, READINGS)}


def twin(folder: Path, whole: Whole) -> Whole:
    """The same with blobs of its own, to be tampered with."""
    found = Whole(folder)
    for (container, name), raw in whole.blobs.everything().items():
        found.blobs.write(container, name, raw)
    newest = max(event.enqueued_ms for log in whole.readings.logs for event in log)
    found.readings = MemoryStream(2, newest)
    for mine, its in ((found.devices, whole.devices), (found.readings, whole.readings)):
        mine.logs[:] = [list(log) for log in its.logs]
    found.taken, found.created_ms, found.now_ms = list(whole.taken), dict(whole.created_ms), whole.now_ms
    found.restart()
    return found


@pytest.fixture
def devices(tmp_path: Path, lived: dict[str, Whole]) -> Whole:
    return twin(tmp_path, lived[DEVICES])


@pytest.fixture
def readings(tmp_path: Path, lived: dict[str, Whole]) -> Whole:
    return twin(tmp_path, lived[READINGS])


@pytest.mark.parametrize("hub", [DEVICES, READINGS])
def test_the_books_balance_after_a_hub_was_created_anew_twice(
    hub: str, lived: dict[str, Whole], tmp_path: Path
) -> None:
    """The totals are those of hubs that lived on."""
    calm = Whole(tmp_path)
    calm.drop("f.csv", "\n".join([CSV, *(row("f", hour) for hour in range(5)), "x,y"]))
    for life in range(3):
        a_day(calm, 10 * life)
    assert balanced(lived[hub].books()) == balanced(calm.books())


def test_each_old_epoch_of_the_devices_hub_says_what_it_was_held_against(devices: Whole) -> None:
    found = devices.books()
    assert [note.split(":")[0] for note in found.notes] == [
        f"devices' partition {number}, epoch {epoch}".removesuffix(", epoch 0") for number in (0, 1) for epoch in (0, 1)
    ]
    first = found.notes[0]
    for words in ("9 readings accepted and 3 records rejected", "log is gone", "commits and dead letters", "not known"):
        assert words in first
    assert as_json(found)["notes"] == found.notes
    names = [account.name for account in found.sources]
    assert "devices' partition 0, epoch 2" in names
    assert not next(account.notes for account in found.sources if account.name.endswith("0, epoch 2"))


def test_each_old_epoch_of_the_readings_hub_says_what_it_was_held_against(readings: Whole) -> None:
    found = readings.books()
    assert [account.name for account in found.partitions] == [
        f"partition {number}{epoch}" for number in (0, 1) for epoch in ("", ", epoch 1", ", epoch 2")
    ]
    assert len(found.notes) == 4
    assert re.search(r"^partition 1, epoch 1: the log is gone .* held against what their sources sent", found.notes[3])
    assert all(account.logged and not account.waiting for account in found.partitions)


def test_a_hub_that_lived_on_has_no_notes(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    a_day(whole, 0)
    assert whole.books().notes == []


def lose(container: str, prefix: str, place: int = -1) -> Tamper:
    def work(whole: Whole) -> None:
        whole.blobs.delete(container, whole.blobs.names(container, prefix)[place])

    return work


def lose_all(container: str, prefix: str) -> Tamper:
    def work(whole: Whole) -> None:
        names = whole.blobs.names(container, prefix)
        assert names
        for name in names:
            whole.blobs.delete(container, name)

    return work


def forget_an_epoch(whole: Whole) -> None:
    """Progress as it was before the last hub."""
    at = said(whole)
    put(whole, msgspec.structs.replace(at, epoch=1, ended=at.ended[:1]))


def claim(whole: Whole) -> None:
    """The closing counts of epoch 0 are raised, those of epoch 1 stay."""
    at = said(whole)
    first = msgspec.structs.replace(at.ended[0], accepted=at.ended[0].accepted + 1)
    put(whole, msgspec.structs.replace(at, ended=[first, *at.ended[1:]]))


def said(whole: Whole) -> Progress:
    return progress.decode(whole.blobs.read(progress.CONTAINER, progress.name_of(0)) or b"")


def put(whole: Whole, at: Progress) -> None:
    whole.blobs.write(progress.CONTAINER, progress.name_of(0), progress.encode(at))


OF_DEVICES: dict[str, tuple[Tamper, str]] = {
    "a dead letter of the first epoch": (lose("dead-letter", "hub/0.0/"), r"devices' partition 0: 3 records rejected"),
    "a dead letter of the second": (lose("dead-letter", "hub/1.1/"), r"devices' partition 1, epoch 1: 3 records reje"),
    "all of an epoch's dead letters": (lose_all("dead-letter", "hub/0.1/"), "epoch 1: 3 records rejected, 0 in"),
    "a count of the first epoch": (claim, "devices' partition 0: 10 readings accepted, 9 in commits"),
    "a count, felt in the second": (claim, "devices' partition 0, epoch 1: 8 readings accepted, 9 in commits"),
    "progress of before the last hub": (forget_an_epoch, r"progress does not know of hub/0\.2"),
    "commits": (lose("commits", "partition=00/"), r"devices' partition ., epoch 2: \d+ readings accepted"),
}
OF_READINGS: dict[str, tuple[Tamper, str]] = {
    "the last commit of the first epoch": (
        lose("commits", "partition=00/epoch=00000", -2),  # behind it stands the one that closes the epoch
        r"partition 0: events \d+ to \d+ are in no commit",
    ),
    "commits of a whole epoch": (lose_all("commits", "partition=00/epoch=00001"), "partition 0, epoch 1: no commit is"),
    "the first epoch's predictions": (
        lose("predictions", "partition=01/epoch=00000"),
        "partition 1: commit|is missing",
    ),
    "letters of the second": (
        lose("dead-letter", "partition=00/epoch=00001"),
        "partition 0, epoch 1: .* 0 dead letters",
    ),
    "the last commits": (lose_all("commits", "partition=01/epoch=00002"), r"partition 1, epoch 2: \d+ readings wait"),
}


@pytest.mark.parametrize("name", OF_DEVICES)
def test_what_is_missing_in_an_epoch_of_the_devices_hub_is_named(name: str, devices: Whole) -> None:
    tamper, expected = OF_DEVICES[name]
    tamper(devices)
    problems = devices.books().problems
    assert any(re.search(expected, problem) for problem in problems), problems


@pytest.mark.parametrize("name", OF_READINGS)
def test_what_is_missing_in_an_epoch_of_the_readings_hub_is_named(name: str, readings: Whole) -> None:
    tamper, expected = OF_READINGS[name]
    tamper(readings)
    problems = readings.books().problems
    assert any(re.search(expected, problem) for problem in problems), problems


def test_readings_that_the_old_hub_took_with_it_are_missed_at_their_source(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    a_day(whole, 0)
    whole.hear(message("a", 8))
    whole.renew(READINGS)
    whole.restart()
    a_day(whole, 10)
    problems = whole.books().problems
    assert [p for p in problems if p.startswith("devices'")] == [
        "devices' partition 0: 19 readings accepted, 18 in commits"
    ]


def test_messages_that_expired_are_counted_in_the_epoch_that_lost_them(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.routers[0].take([Event(0, whole.now_ms, message(hour=0))])
    whole.routers[0].take([Event(3, whole.now_ms, message(hour=1))])
    whole.devices.logs[0] = [Event(3, whole.now_ms, message(hour=1))]
    whole.renew(DEVICES)
    a_day(whole, 10)
    found = whole.books()
    assert balanced(found)["expired"] == 2
    assert [account.counts["expired"] for account in found.sources if account.name.startswith("devices'")] == [2, 0, 0]


def test_a_new_hub_that_nobody_has_read_yet_is_no_loss(devices: Whole) -> None:
    devices.renew(DEVICES)
    balanced(devices.books())
    log = devices.devices.logs[0]
    log.append(Event(0, devices.now_ms, message("a", 40)))
    assert devices.books().problems == ["devices' partition 0, epoch 3: 1 messages wait to be routed"]
    devices.routers[0].take(log)
    assert devices.books().problems == [
        "partition 1: 1 readings wait for a commit",
        "devices' partition 0, epoch 3: 1 readings accepted, 0 in commits",
    ]
    devices.score()
    balanced(devices.books())


def test_new_readings_that_nobody_has_scored_yet_wait(readings: Whole) -> None:
    readings.renew(READINGS)
    balanced(readings.books())
    readings.hear(message("a", 40))
    problems = readings.books().problems
    assert any(re.fullmatch(r"partition \d, epoch 3: 1 readings wait for a commit", each) for each in problems), (
        problems
    )
    readings.score()
    balanced(readings.books())


@pytest.mark.parametrize("hub", [DEVICES, READINGS])
def test_an_emptied_log_of_the_same_hub_is_not_taken_for_a_new_hub(hub: str, tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    a_day(whole, 0)
    before = whole.created_ms[hub]
    whole.renew(hub)
    whole.created_ms[hub] = before
    found = whole.books()
    assert found.notes == []
    assert any("the log" in problem for problem in found.problems)


def test_a_hub_made_anew_with_fewer_partitions_keeps_the_accounts_of_the_others(devices: Whole) -> None:
    devices.renew(DEVICES)
    devices.devices.logs.pop()
    found = devices.books()
    balanced(found)
    assert "devices' partition 1, epoch 2" in [account.name for account in found.sources]


@pytest.mark.parametrize("ended", [0, 1])
def test_progress_that_was_written_before_it_told_epochs_apart_is_held_against_all_of_them(
    ended: int, devices: Whole
) -> None:
    """The first epochs are one account."""
    at = msgspec.json.decode(devices.blobs.read(progress.CONTAINER, progress.name_of(0)) or b"")
    at["ended"] = at["ended"][2 - ended :]
    if not ended:
        del at["ended"]
    devices.blobs.write(progress.CONTAINER, progress.name_of(0), msgspec.json.encode(at))
    found = devices.books()
    balanced(found)
    names = [account.name for account in found.sources if "partition 0" in account.name]
    assert names == ["devices' partition 0, epochs 0 to 1", "devices' partition 0, epoch 2"]
    lose("dead-letter", "hub/0.1/")(devices)
    assert "devices' partition 0, epochs 0 to 1: 6 records rejected" in " ".join(devices.books().problems)


@pytest.mark.parametrize("call", range(2))
@pytest.mark.parametrize("stored_anyway", [False, True])
def test_a_crash_while_an_epoch_begins_changes_no_count(call: int, stored_anyway: bool, tmp_path: Path) -> None:
    """The first batch of a new hub dies at its dead letters or its progress and comes again, cut otherwise."""
    whole = Whole(tmp_path, Stores())
    a_day(whole, 0)
    whole.renew(DEVICES)
    whole.blobs.fail_at, whole.blobs.stored_anyway = whole.blobs.count + call, stored_anyway
    with pytest.raises(TransientFailure):
        whole.hear(message("a", 10), b"rubbish", message("a", 11))
    whole.blobs.fail_at = -1
    whole.restart()
    log = whole.devices.logs[0]
    for events in (log[:2], log):
        whole.routers[0].take(events)
    whole.score()
    at = said(whole)
    assert (at.epoch, at.next, [ended.epoch for ended in at.ended]) == (1, 3, [0])
    sums = balanced(whole.books())
    assert (sums["arrived"], sums["expired"]) == (2 * (9 + 3) + 3, 0)


def test_letters_of_an_old_epoch_that_are_fed_back_stay_accounted_for(devices: Whole) -> None:
    before = balanced(devices.books())
    devices.restart(fixed(maximum=2500))
    assert devices.resubmit()["accepted"] == 6
    devices.score()
    after = balanced(devices.books())
    assert after["dead_lettered"] == before["dead_lettered"] - 6
    assert after["arrived"] == before["arrived"]


def test_a_letter_that_a_slower_rival_wrote_twice_counts_once_even_if_feeding_it_back_dies_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival had cut its batch otherwise, so that its blob has another name."""
    whole = Whole(tmp_path)
    whole.hear(message(hour=0), message(hour=1, pm=2000), b"rubbish", message(hour=2, pm=2100))
    (name,) = whole.blobs.names("dead-letter")
    lines = (whole.blobs.read("dead-letter", name) or b"").splitlines(keepends=True)
    whole.blobs.write("dead-letter", f"{name}.rival", b"".join(lines[:2]))
    whole.score()
    assert balanced(whole.books())["dead_lettered"] == 3
    whole.restart(fixed(maximum=2500))

    def dies(*_: str) -> NoReturn:
        raise TransientFailure("the store does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(whole.blobs, "delete", dies)  # what is left of the first blob is written, the second one stays
        with pytest.raises(TransientFailure):
            whole.resubmit()
    whole.score()
    assert balanced(whole.books())["dead_lettered"] == 1
    whole.resubmit()
    whole.score()
    sums = balanced(whole.books())
    assert (sums["applied"], sums["duplicates"], sums["dead_lettered"]) == (3, 1, 1)
    assert [letter.position >> 16 for letter in whole.letters()] == [2]
