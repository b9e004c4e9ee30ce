"""The small story goes on after an edit of its scenario: on the golden blobs, with a wider limit."""

from __future__ import annotations

from shared.core.forecast.task import HourlyForecast
from shared.core.stream.events import Event
from shared.core.stream.packing import pack
from tests.golden import kept
from tests.golden.stories import Blobs, Kind, everything, filled, worker
from tests.kit import HOUR, TASK, fixed, hourly, readings

WIDER = fixed(maximum=4000)
EVOLVED = Kind(WIDER, HourlyForecast(WIDER, TASK.featurizer), 2)


def evolved() -> Blobs:
    """Every blob that is written after the edit."""
    before = kept.blobs("small")
    blobs = filled(before)
    blobs.write("models", "scenario.json", kept.read(kept.SINCE)["evolved/first.json"])
    for number, devices in enumerate(("agh", "cd")):
        scorer = worker(EVOLVED, blobs, number)
        for start in range(0, 9, 3):
            state = scorer.recovered()
            rows = hourly(devices, 3, HOUR + 28 + start)
            bodies = pack(f"hub/{number}.{start}", WIDER.channel_names, readings(rows))
            scorer.take([Event(state.next + i, state.enqueued_ms + 1 + i, body) for i, body in enumerate(bodies)])
    return {place: raw for place, raw in everything(blobs).items() if before.get(place) != raw}
