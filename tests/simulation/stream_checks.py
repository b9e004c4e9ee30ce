"""What must hold of the stream after a run, whatever befell it."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from local.books import recount as books
from shared.app.lake.compaction import rebuild
from shared.app.score.partition import HELD_MS
from shared.core.forecast.state import State, own
from tests.kit import picture
from tests.kit.essence import essence
from tests.kit.whole import write_log
from tests.simulation.ports import Blobs
from tests.simulation.quiet import Quiet
from tests.simulation.schedule import Process
from tests.simulation.worker import DEVICES, PARTITIONS, READINGS, Simulated

if TYPE_CHECKING:
    from tests.simulation.stream import Stream

QUARANTINED = ("d0", "d1", "d2", "d3")


class Forecast(NamedTuple):
    """Which forecast a row is."""

    device: str
    as_of: int
    role: str
    revision: int


class Answer(NamedTuple):
    """What it says."""

    value: float
    lower: float
    upper: float
    model: str
    served: bool


Forecasts = dict[Forecast, Answer]


def check(stream: Stream) -> None:
    """All of it; an AssertionError says what does not hold."""
    found = forecasts(stream)
    _landed_as_compacted(stream)
    _served_once(found)
    _letters_stay(stream)
    _watched_to_the_end(stream)
    _states_agree(stream)
    _books(stream)
    _as_undisturbed(stream, found)


def forecasts(stream: Stream) -> Forecasts:
    """Every forecast that a commit names, each once, with revisions that rise; the lake has them all."""
    stores, found, last = stream.world.stores, dict[Forecast, Answer](), dict[tuple[str, int, str], int]()
    for number in range(PARTITIONS):
        for commit, _, made in stores.lake.stored(stores.lake.commits(number)):
            for forecast, answer in _rows(made) if made else ():
                assert stream.lost or forecast not in found, (
                    f"{forecast} was made twice, again in commit {commit.epoch} {commit.first}"
                )
                before = last.get(forecast[:3], -1)
                assert stream.lost or forecast.revision > before, f"{forecast} follows revision {before}"
                found[forecast], last[forecast[:3]] = answer, forecast.revision
    return found


def _landed_as_compacted(stream: Stream) -> None:
    """A commit is what the lake took of it: nobody removes it and makes it again with other answers.

    Where the store lost one, two workers may have gone on side by side; what the lake did not take counts for nothing.
    Nor does what a worker made again that had looked at the mark of what is removed just before it was raised.
    """
    compacted = stream.world.stores.lake.raw()
    blobs: Blobs = stream.world.stores.blobs
    for name, info in blobs.listed("commits"):
        if stream.lost and name not in compacted:
            continue
        assert name in compacted, f"{name} has never come into the lake"
        gone_ms = blobs.deleted_ms.get(("commits", name))
        if gone_ms is None or info.modified_ms - gone_ms >= HELD_MS:
            assert compacted[name] == blobs.read("commits", name), f"{name} is not what the lake has of it"


def _rows(rows: dict[str, Any]) -> Any:
    for place, device in enumerate(rows["device_id"]):
        forecast = Forecast(device, int(rows["as_of"][place]), rows["role"][place], int(rows["revision"][place]))
        value, lower, upper = (float(rows[name][place]) for name in ("value", "lower", "upper"))
        yield forecast, Answer(value, lower, upper, rows["model_version"][place], bool(rows["served"][place]))


def _served_once(found: Forecasts) -> None:
    served: Counter[tuple[str, int, int]] = Counter()
    for forecast, answer in found.items():
        served[forecast.device, forecast.as_of, forecast.revision] += answer.served
    wrong = [key for key, count in served.items() if count != 1]
    assert not wrong, f"not served exactly once: {wrong[:3]}"


def _letters_stay(stream: Stream) -> None:
    """Dead letters that a commit names are there as they were written, whoever fed them back."""
    for number in range(PARTITIONS):
        for _, commit in stream.world.stores.lake.commits(number):
            if commit.dead_letters:
                raw = stream.blobs.read("dead-letter", commit.dead_letters)
                assert raw is not None, f"{commit.dead_letters} is gone, and commit {commit.first} names it"
                assert hashlib.sha256(raw).hexdigest()[:16] in commit.dead_letters, (
                    f"{commit.dead_letters} is rewritten"
                )


def _watched_to_the_end(stream: Stream) -> None:
    """The drift check sees the newest hour of the data, also where no profile was due after it."""
    final = stream.world.final
    newest = max(final.ports.task.newest_hour(final.partition(number).recovered()) for number in range(PARTITIONS))
    seen = final.loop.merged().newest_hour
    assert seen == newest, f"the drift check sees the data up to hour {seen}, they go up to {newest}"


def _states_agree(stream: Stream) -> None:
    """Live memory, recovery with snapshots, with damaged ones, without, and the lake tell the same."""
    world = stream.world
    for number in range(PARTITIONS):
        live = picture(world.final.partition(number).recovered())
        _same(f"partition {number}: recovered", picture(_fresh(stream).partition(number).recovered()), live)
        if stream.lost:
            continue  # what is folded again may be cut otherwise: its values are the same, its stamps are not
        lake = rebuild(world.stores.lake, world.final.ports.task, number)
        _same(f"partition {number}: from the lake", picture(lake), live)
    if stream.lost:
        return
    for befall in (_change_newest_snapshots, _delete_snapshots):
        befall(stream)
        for number in range(PARTITIONS):
            live = picture(world.final.partition(number).recovered())
            anew = picture(_fresh(stream).partition(number).recovered())
            _same(f"partition {number}: after {befall.__name__.strip('_')}", anew, live)


def _change_newest_snapshots(stream: Stream) -> None:
    """A bit of each, of its own in every run."""
    for name in {name.split("/")[0]: name for name in stream.blobs.names("state")}.values():
        raw = bytearray(stream.blobs.read("state", name) or b"")
        if raw:
            raw[stream.world.seed * 7919 % len(raw)] ^= 1
        stream.blobs.write("state", name, bytes(raw))


def _delete_snapshots(stream: Stream) -> None:
    for name in stream.blobs.names("state"):
        stream.blobs.delete("state", name)


def _fresh(stream: Stream) -> Simulated:
    world = stream.world
    return Simulated(world.stores, Process("fresh"), world.conditions.settings, beside=False)


def _same(what: str, found: dict[str, Any], expected: dict[str, Any]) -> None:
    wrong = [name for name in {**expected, **found} if found.get(name) != expected.get(name)]
    told = [f"{name}: {str(found.get(name))[:80]} instead of {str(expected.get(name))[:80]}" for name in wrong[:2]]
    assert not wrong, f"{what} differs in {wrong[:4]}: {'; '.join(told)}"


def _books(stream: Stream) -> None:
    stores = stream.world.stores
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for hub in (READINGS, DEVICES):
            write_log(folder, hub, stores.hubs[hub].logs, stores.hubs[hub].created_ms)
        lake: Any = stores.lake
        found = books.recount(stores.blobs, stores.files, folder, READINGS, DEVICES, lake)
    assert not found.problems, f"the books do not balance: {found.problems[:3]}"
    expired = found.totals()["expired"]
    assert not expired, f"{expired} events count as expired, but no hub forgot what nobody had read"


def _as_undisturbed(stream: Stream, found: Forecasts) -> None:
    """The newest revision of every forecast is, bit for bit, what its model says in an undisturbed run."""
    last: dict[tuple[str, int], int] = {}
    for forecast in found:
        key = forecast[:2]
        last[key] = max(forecast.revision, last.get(key, -1))
    mixed = "swaps" in stream.world.on or stream.world.kind != "stream"
    if "edits" in stream.world.on:
        return  # from which event on the edit counts, others decided
    for model in sorted({answer.model for answer in found.values()}):
        quiet = Quiet(stream, model)
        for forecast, answer in found.items():
            if answer.model != model or forecast.revision != last[forecast[:2]]:
                continue
            expected = quiet.values.get(forecast[:2])
            held_back = mixed and forecast.device in QUARANTINED  # not made anew while it was in quarantine
            assert held_back or expected == answer[:3], f"{forecast}: {answer} instead of {expected}"
        if not mixed:
            assert set(last) == set(quiet.values), f"made or missing: {sorted(set(last) ^ set(quiet.values))[:3]}"
            for number in range(PARTITIONS):
                live = own(stream.world.final.partition(number).recovered())
                _same(f"partition {number} beside an undisturbed one", _known(live), _known(own(quiet.states[number])))


def _known(state: State) -> dict[str, Any]:
    return {**essence(state), "next": (state.epoch, state.next)}
