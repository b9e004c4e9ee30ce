"""Layouts as a scenario file states them: what is read, and what is refused with key, value and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from shared.core.scenario import FileLayout, parse
from shared.errors import ConfigError
from tests.kit.edits import BEFORE, LAYOUT


def scenario_with(*layouts: dict[str, Any]) -> Any:
    return parse({**BEFORE, "layouts": list(layouts)})


def test_a_layout_is_read_with_its_defaults() -> None:
    (found,) = scenario_with({"name": "log", "files": ["log_{device}_*.csv"], "time": ["Date", "Time"]}).layouts
    assert found == FileLayout(name="log", files=("log_{device}_*.csv",), time=("Date", "Time"))
    assert found.needed == ("Date", "Time")
    assert (found.preamble, found.decimal, found.hour, found.date_order) == (None, ".", "beginning", "ymd")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"files": []}, "layouts.x.files: is empty, and so is header"),
        ({"files": ["{device}-{device}"]}, "has {device} more than once"),
        ({"time": ["a"], "time_parts": ["y", "m", "d"]}, "layouts.x.time_parts: stands beside time"),
        ({"time_parts": ["y", "m"]}, "2 columns are not 3 to 5: year, month, day, hour, minute"),
        ({"parameter": "what"}, "layouts.x.parameter: stands without value"),
        ({"parameter": "what", "value": "v", "stations": "pm"}, "layouts.x.stations: stands beside parameter"),
        ({"columns": ["a"], "time": ["b"], "device": ["c"]}, "layouts.x.columns: lacks b, c"),
        ({"zone": "Mars/Base"}, "layouts.x.zone: 'Mars/Base' is neither a known time zone nor an offset"),
        ({"zone": "+25:00"}, "layouts.x.zone: '+25:00' is neither"),
        ({"channels": {"field1": "dust"}}, "layouts.x.channels.field1: 'dust' is not a channel; they are pm, rain"),
        ({"parameters": {"1": "dust"}}, "layouts.x.parameters.1: 'dust' is not a channel"),
        ({"stations": "dust"}, "layouts.x.stations: 'dust' is not a channel"),
        ({"units": {"dust": "g"}}, "layouts.x.units.dust: is not a channel"),
        ({"units": {"pm": "furlong"}}, "layouts.x.units.pm: 'furlong' is not one of ug/m3"),
        ({"delimiter": "x"}, "layouts[0].delimiter: 'x' is not one of"),
        ({"quote": "`"}, "layouts[0].quote: '`' is not one of"),
        ({"preamble": 1001}, "layouts[0].preamble: 1001 is outside 0 to 1000"),
        ({"skip": 3}, "layouts[0].skip: unknown key"),
    ],
)
def test_what_makes_no_sense_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        scenario_with({"name": "x", "files": ["x*"], **more})
    assert said in str(refused.value)


def test_a_name_stands_for_one_layout() -> None:
    with pytest.raises(ConfigError, match="layouts: the name 'x' stands twice"):
        scenario_with({"name": "x", "files": ["a"]}, {"name": "x", "files": ["b"]})


@pytest.mark.parametrize("zone", ["Europe/Berlin", "+08:00", "-5"])
def test_zones_and_offsets_are_known(zone: str) -> None:
    assert scenario_with({"name": "x", "files": ["a"], "zone": zone}).layouts[0].zone == zone


def test_every_key_of_a_layout_is_edited_somewhere() -> None:
    assert {*LAYOUT, "parameter", "value"} == set(FileLayout.__dataclass_fields__)
