"""Files and device messages meet in one ring, whatever road a reading came by and whichever came first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.core.forecast.losses import ERRORS, TOTALS
from shared.core.forecast.state import own
from shared.core.model.scoring import CHAMPION
from shared.core.task.state import State
from tests.kit import CSV, HOUR, SCENARIO, message, row
from tests.kit.whole import Whole

HOURS = 60
DEVICES = "abc"


def value(device: str, hour: int) -> float:
    return float((hour * 7 + DEVICES.index(device) * 13) % 50)


def file_of(hours: range) -> str:
    return "\n".join([CSV, *(row(d, h, value(d, h)) for h in hours for d in DEVICES)]) + "\n"


def messages_of(hours: range) -> list[bytes]:
    return [message(d, h, value(d, h), rain=0, wind=90) for h in hours for d in DEVICES]


def rings(whole: Whole) -> dict[str, tuple[int, bytes]]:
    """Head and hourly values of every device."""
    found = {}
    for partition in whole.partitions:
        state = own(partition.recovered())
        values = state.columns.ring.values()
        for place, name in enumerate(state.devices):
            head = int(state.columns.ring.head[place])
            hours = np.arange(head - state.columns.ring.slots + 1, head + 1)
            found[name] = (head, values[hours % state.columns.ring.slots, :, place].tobytes())
    return found


def streamed(folder: Path) -> Whole:
    whole = Whole(folder)
    whole.hear(*messages_of(range(HOURS)))
    whole.score()
    return whole


@pytest.mark.parametrize("at", [0, 1, 30, HOURS - 1, HOURS])
@pytest.mark.parametrize("overlap", [0, 2])
def test_a_file_before_during_and_after_the_stream_gives_the_same_ring(tmp_path: Path, at: int, overlap: int) -> None:
    whole = Whole(tmp_path / "mixed")
    whole.hear(*messages_of(range(at)))
    whole.score()
    if at < HOURS:
        whole.drop("middle.csv", file_of(range(max(at - overlap, 0), min(at + 10, HOURS))))
        whole.score()
    whole.hear(*messages_of(range(min(at + 10, HOURS), HOURS)))
    whole.drop("again.csv", file_of(range(HOURS - 3, HOURS)))
    whole.score()
    assert rings(whole) == rings(streamed(tmp_path / "streamed"))


def test_truth_that_arrives_by_file_matures_a_forecast_made_from_the_stream(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.hear(*messages_of(range(30)))
    whole.score()
    before = matured(whole)
    whole.drop("truth.csv", file_of(range(30, HOURS)))
    whole.score()
    assert matured(whole) == before + 30 * len(DEVICES)


def matured(whole: Whole) -> int:
    states: list[State] = [partition.recovered() for partition in whole.partitions]
    at = ERRORS.index("matured")
    return sum(int(row[at]) for s in states for (_, role, _), row in s.errors.items() if role == CHAMPION)


def test_a_timestamp_of_2099_changes_nothing(tmp_path: Path) -> None:
    whole = Whole(tmp_path / "with")
    whole.hear(*messages_of(range(30)))
    year_2099 = 4_070_908_800 // 3600 - HOUR
    whole.hear(message("a", year_2099))
    whole.drop("odd.csv", "\n".join([CSV, row("b", year_2099), ""]))
    whole.hear(*messages_of(range(30, HOURS)))
    whole.score()
    assert rings(whole) == rings(streamed(tmp_path / "without"))
    assert whole.reasons() == [("future", 1), ("future", 1)]


def test_a_three_day_backlog_in_order_is_fully_applied(tmp_path: Path) -> None:
    whole = Whole(tmp_path)
    whole.hear(*messages_of(range(5)))
    whole.score()
    backlog = [message("a", hour, 1.0) for hour in range(5, 77)]
    whole.hear(b"[" + b",".join(backlog) + b"]")
    whole.score()
    applied = sum(
        int(state.sources["hub/0.0"].totals[TOTALS.index("applied")])
        for state in (partition.recovered() for partition in whole.partitions)
        if "hub/0.0" in state.sources
    )
    assert applied == 5 * len(DEVICES) + len(backlog)
    assert not whole.letters()
    head, values = rings(whole)["a"]
    assert head == HOUR + 76
    assert np.frombuffer(values, np.float32).reshape(-1, len(SCENARIO.stored))[:, 0].tolist() == [1.0] * SCENARIO.slots
