"""Whether it is one device, the pipeline or everybody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.core.drift.triage import triage
from tests.kit.data.drift_baseline import COLUMNS, NOW, baseline, spoilt, table

FOUR = ("a", "b", "c", "d")


def test_healthy_devices_are_not_accused() -> None:
    found = triage(baseline(*FOUR), table(*FOUR), NOW)
    assert (found.faulty, found.pipeline, found.silent, found.shared) == ((), (), (), ())
    assert (found.allowance == 0).all()


@pytest.mark.parametrize(
    ("column", "cells", "fault"),
    [
        ("temp", {"run": 13}, "stuck"),
        ("temp", {"run": 12}, None),
        ("precip", {"run": 120, "last": 0.0}, None),  # it simply does not rain
        ("precip", {"run": 13, "last": 4.0}, "stuck"),
        ("temp", {"run": 20, "samples": 23}, None),  # too few values to say anything
        ("rel_humidity", {"newest": 80.0}, "jump"),
        ("rel_humidity", {"newest": 60.0}, None),
        ("rel_humidity", {"mean": 80.0, "newest": 80.0, "older": 80.0}, "jump"),  # it has stayed there for long
        ("pm25", {"silent": 49}, "missing"),
        ("pm25", {"silent": 48}, None),
        ("pm25", {"silent": 120, "samples": 0, "last": np.nan, "mean": np.nan, "run": 0}, "missing"),
    ],
)
def test_one_device_at_fault(column: str, cells: dict[str, float], fault: str | None) -> None:
    found = triage(baseline(*FOUR), spoilt(table(*FOUR), 1, column, **cells), NOW)
    assert [(f.device, f.fault, f.channel) for f in found.faulty] == ([("b", fault, column)] if fault else [])
    assert found.pipeline == ()


def test_a_device_never_seen_in_training_is_judged_by_what_all_do() -> None:
    found = triage(baseline(), spoilt(table(*FOUR), 2, "temp", run=30), NOW)
    assert [(f.device, f.fault) for f in found.faulty] == [("c", "stuck")]
    without = spoilt(table(*FOUR), 2, "pm25", silent=120, samples=0, mean=np.nan, last=np.nan, run=0)
    assert triage(baseline(), without, NOW).faulty == ()  # perhaps it has no such sensor


def test_a_channel_gone_nearly_everywhere_is_the_pipeline() -> None:
    devices = table(*FOUR)
    for device in range(4):
        devices = spoilt(devices, device, "pm25", silent=60)
    found = triage(baseline(*FOUR), devices, NOW)
    assert found.faulty == ()
    assert "pm25" in found.pipeline[0]


def test_a_jump_of_several_devices_is_not_their_own_fault() -> None:
    devices = spoilt(spoilt(table(*FOUR, "e"), 0, "temp", newest=40.0), 1, "temp", newest=40.0)
    found = triage(baseline(*FOUR), devices, NOW)
    assert found.faulty == ()
    assert found.shared == ("temp",)


def test_no_reading_at_all_is_the_pipeline() -> None:
    assert triage(baseline(), table(), NOW).pipeline == ("nothing ever arrived",)
    assert "25 hours" in triage(baseline(), table(*FOUR), NOW + 25).pipeline[0]


def test_a_device_that_is_silent_as_a_whole_is_listed_and_not_at_fault() -> None:
    devices = table(*FOUR)
    late = replace(devices, head=devices.head - np.array([0, 0, 0, 49]))
    found = triage(baseline(*FOUR), spoilt(late, 3, "temp", run=100), NOW)
    assert (found.silent, found.faulty) == (("d",), ())


@pytest.mark.parametrize(("run", "recovered"), [(5, ("b",)), (9, ()), (30, ())])
def test_a_quarantined_device_recovers_only_well_below_the_limits(run: int, recovered: tuple[str, ...]) -> None:
    found = triage(baseline(*FOUR), spoilt(table(*FOUR), 1, "temp", run=run), NOW, {"b"})
    assert found.recovered == recovered


def test_a_suspect_is_allowed_for_with_all_it_may_have_shown_and_many_devices_dilute_it() -> None:
    names = tuple(f"d{i}" for i in range(40))
    few = triage(baseline(*FOUR), spoilt(table(*FOUR), 1, "temp", run=50), NOW).allowance
    many = triage(baseline(*names), spoilt(table(*names), 1, "temp", run=50), NOW).allowance
    at = COLUMNS.index("temp")
    assert few[at] > 0
    assert few[at] == pytest.approx(10 * many[at])
    assert few[COLUMNS.index("pm25")] == 0
