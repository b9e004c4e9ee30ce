"""A summary says in which unit a column was taken of which nothing told one."""

from __future__ import annotations

import html
import io
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from local.inspect.show import show_summary
from shared.core.scenario import FileLayout
from shared.core.task.tasks import task_of
from tests.flow.route.test_files import Plant
from tests.kit.tiny_model import SCENARIO

STATIONS = FileLayout(name="stations", files=("stations*",), time=("time",), stations="pm25")
VALUES = FileLayout(name="values", files=("values*",), time=("time",), parameter="what", value="value", unit="in")
TABLE = "device_id,time,temp,t,atmos_press,wind_spd (km/h),pm25\na,2024-03-01T00:00Z,9,1,101,3.6,12\n"
TAKEN = {"temp": "temp in degC", "pm25": "pm25 in ug/m3"}


def assumed(name: str, data: bytes | str, *layouts: FileLayout) -> Any:
    """What the summary of a file says of units; one reading of it was accepted at least."""
    here = Plant()
    here.pipeline.route_file = replace(
        here.pipeline.route_file, task=task_of(replace(SCENARIO, layouts=(*layouts, *SCENARIO.layouts)))
    )
    found = here.process(name, data)
    assert found["rows_accepted"] > 0
    return found.get("assumed", {})


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_without_a_unit_is_said_to_be_taken_in_the_scenarios(form: str) -> None:
    """That of the pressure shows in its values, that of the wind in its name."""
    data = TABLE if form == "csv" else pd.read_csv(io.StringIO(TABLE)).to_parquet()
    assert assumed(f"x.{form}", data) == TAKEN


@pytest.mark.parametrize(
    ("layout", "taken"),
    [
        (STATIONS, {"North": "pm25 in ug/m3", "South": "pm25 in ug/m3"}),
        (replace(STATIONS, units={"pm25": "mg/m3"}), {}),
    ],
)
def test_columns_of_stations_are_all_taken_in_one_unit(layout: FileLayout, taken: dict[str, str]) -> None:
    assert assumed("stations.csv", "time,North,South\n2024-03-01T00:00Z,1,2\n", layout) == taken


def test_a_parameter_without_a_unit_is_said_to_be_taken_in_the_scenarios() -> None:
    rows = ["a,2024-03-01T00:00Z,PM25,12,", "a,2024-03-01T00:00Z,temp,12,degC", "a,2024-03-01T00:00Z,noise,12,"]
    data = "\n".join(["device_id,time,what,value,in", *rows, ""])
    assert assumed("values.csv", data, VALUES) == {"PM25": "pm25 in ug/m3"}


def test_the_terminal_and_the_report_say_it() -> None:
    here, said = Plant(), io.StringIO()
    show_summary(Console(file=said, width=200), here.process("x.csv", TABLE))
    line = "no unit was told, so it was taken: temp as temp in degC, pm25 as pm25 in ug/m3"
    assert line in said.getvalue()
    assert "temp as temp in degC" in html.unescape(here.report("x.csv"))


def test_nothing_is_said_where_every_unit_was_told() -> None:
    data = "device_id,time,temp_degC,pm25 (ug/m3)\na,2024-03-01T00:00Z,9,12\n"
    assert assumed("x.csv", data) == {}
