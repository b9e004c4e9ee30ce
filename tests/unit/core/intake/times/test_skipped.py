"""Local times that never were are read, and told: against zoneinfo of the standard library."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.intake.messages.decoding import Decoder
from shared.core.intake.readings import joined
from shared.core.intake.times.skipped import NONE, Skipped, together
from shared.core.intake.times.texts import from_texts
from shared.core.intake.times.timestamps import never_were
from shared.core.intake.times.zones import zone
from shared.core.scenario import Station, with_overrides
from tests.kit import SCENARIO

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "+01:00", "UTC")
NOW = 33_000_000
SPRING = [datetime(year, month, day) for year in (2019, 2026) for month in (3, 10) for day in range(1, 32)]  # noqa: DTZ001
MOMENTS = st.builds(lambda day, minute: day + timedelta(minutes=minute), st.sampled_from(SPRING), st.integers(0, 1439))


def skips(moment: datetime, name: str) -> bool:
    """Whether no instant has this local time: from there to UTC and back it is another one."""
    if name in ("+01:00", "UTC"):
        return False
    there = moment.replace(tzinfo=ZoneInfo(name))
    return there.astimezone(timezone.utc).astimezone(ZoneInfo(name)).replace(tzinfo=None) != moment


@given(st.lists(MOMENTS, min_size=1, max_size=30), st.sampled_from(ZONES), st.sampled_from(ZONES))
def test_a_time_never_was_where_no_instant_has_it(moments: list[datetime], one: str, other: str) -> None:
    names = [one if i % 2 else other for i in range(len(moments))]
    which = np.arange(len(moments), dtype=np.int32) % 2
    found, offsets = never_were(from_texts([m.isoformat() for m in moments]), [zone(other), zone(one)], which)
    wanted = {i for i, (moment, name) in enumerate(zip(moments, names, strict=True)) if skips(moment, name)}
    assert set(found.tolist()) == wanted
    for i, offset in zip(found.tolist(), offsets.tolist(), strict=True):
        assert timedelta(minutes=offset) == moments[i].replace(tzinfo=ZoneInfo(names[i])).utcoffset()


def test_times_with_a_zone_of_their_own_and_bad_ones_are_left_alone() -> None:
    texts = ["2026-03-29T02:30Z", "2026-03-29T02:30+01:00", "x", "", "1774746000"]
    rows, _ = never_were(from_texts(texts), [zone("Europe/Berlin")], np.zeros(len(texts), np.int32))
    assert rows.tolist() == []


def test_accepted_readings_are_counted_and_the_first_is_shown() -> None:
    scenario = with_overrides(SCENARIO, stations={"a": Station(zone="Europe/Berlin")})
    times = ["2026-03-29T02:30", "2026-03-29T02:45", "2026-03-29T03:00"]
    readings = [{"device_id": device, "timestamp": time, "pm": 5} for device in "ab" for time in times]
    readings.append({"device_id": "a", "timestamp": times[0]})  # rejected: nothing is in it
    body = json.dumps(readings).encode()
    parsed = Decoder(scenario).decode(body, position=0, identity=None, not_after_minute=NOW)
    assert parsed.skipped == Skipped(2, "'2026-03-29T02:30'", 60)
    assert joined([parsed, parsed], len(SCENARIO.channels)).skipped == Skipped(4, "'2026-03-29T02:30'", 60)


@pytest.mark.parametrize(("offset", "told"), [(60, "+01:00"), (-300, "-05:00"), (630, "+10:30"), (-210, "-03:30")])
def test_the_warning_names_the_zone_of_a_clock_that_is_never_set(offset: int, told: str) -> None:
    (line,) = together([NONE, Skipped(1, "'x'", offset), Skipped(1233, "'y'", 0)]).warnings
    assert line.startswith("local times that never were: 1,234, such as 'x'")
    assert line.endswith(f"its zone to declare is {told}")
    assert NONE.warnings == together([]).warnings == []
