"""Which scenario the local commands are about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from local.inspect import ledger
from local.send import sources
from local.stack import scenario
from local.stack.workspace import Workspace
from shared.adapters.stores import scenario_files
from shared.app.ledger_store import Ledger
from shared.core.scenario import Scenario, with_overrides
from shared.errors import ConfigError
from tests.kit import HandClock, MemoryBlobs

AIR = scenario_files.load("air_quality")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SCENARIO")


def settings(path: Path, text: str) -> Path:
    own = path / "local.settings.json"
    own.write_text(text, "utf-8")
    return own


def test_the_template_s_is_taken_where_nobody_names_one(tmp_path: Path) -> None:
    assert scenario.chosen(tmp_path / "none.json").name == "air_quality"
    assert scenario.chosen(settings(tmp_path, '{"Values": {}}')).name == "air_quality"


def test_the_user_s_settings_win_over_the_template_and_the_environment_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = settings(tmp_path, json.dumps({"Values": {"SCENARIO": "noise"}}))
    with pytest.raises(ConfigError, match="SCENARIO: 'noise' is not one of air_quality"):
        scenario.chosen(own)
    monkeypatch.setenv("SCENARIO", "air_quality")
    assert scenario.chosen(own).name == "air_quality"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"Values": 3}'])
def test_settings_that_are_none_are_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"local\.settings\.json is not a settings file"):
        scenario.chosen(settings(tmp_path, text))


def test_a_running_stack_s_own_scenario_is_taken_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scenario.of_stack({"scenario": "air_quality"}).name == "air_quality"
    assert scenario.of_stack({}).name == "air_quality"
    with pytest.raises(ConfigError, match="'noise' is not one of"):
        scenario.of_stack({"scenario": "noise"})
    monkeypatch.setenv("SCENARIO", "noise")
    with pytest.raises(ConfigError, match="the stack runs air_quality, not 'noise'"):
        scenario.of_stack({"scenario": "air_quality"})


@pytest.mark.parametrize("action", ["show", "verify"])
def test_a_ledger_of_another_scenario_is_not_an_empty_one(action: str) -> None:
    blobs = MemoryBlobs()
    Ledger("noise", blobs, HandClock()).append("check", "x", {})
    with pytest.raises(ConfigError, match="there is no ledger of air_quality, only of noise"):
        ledger.run(Workspace(Path(), "", "", AIR, blobs), action, [])  # type: ignore[arg-type]


def only(*names: str) -> Scenario:
    return with_overrides(AIR, channels=tuple(each for each in AIR.channels if each.name in names))


def test_the_generator_sends_what_the_scenario_has_of_its_channels() -> None:
    assert sources.made_up(AIR) == AIR.channel_names
    few = sources.made_up(only("wind_spd", "pm25"))
    whole, part = sources.fleet(2, 3, seed=7), sources.fleet(2, 3, seed=7, channels=few)
    assert part.channels == ("wind_spd", "pm25")
    assert [row.values for row in part.rows()] == [row.values[4:5] + row.values[6:] for row in whole.rows()]


def test_channels_that_the_generator_does_not_make_are_named() -> None:
    other = with_overrides(AIR, channels=(AIR.channels[0], replace(AIR.channels[1], unit="cm"), *AIR.channels[2:]))
    with pytest.raises(ConfigError, match="cannot make precip in cm of air_quality: give a file with --data"):
        sources.made_up(other)
