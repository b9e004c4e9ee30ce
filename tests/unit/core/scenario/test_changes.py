"""What an edit means, and that the document says it for every key."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from shared.core.scenario.changes import changes
from shared.core.scenario.shape import as_was, decode, encode, meaning, shape_of
from shared.errors import ContractBroken
from tests import ROOT
from tests.kit.edits import EDITS, Raw, add_a_channel, changed, edit, keys, wider

DOCUMENT = (ROOT / "docs" / "scenario-changes.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_.]+)` \| ([a-z ]+) \|", DOCUMENT, re.MULTILINE))


def effects(*edits: Callable[[Raw], None]) -> set[tuple[str, str]]:
    return {(change.key, change.effect) for change in changes([shape_of(changed())], shape_of(changed(*edits)))}


def test_the_document_has_a_row_for_every_key_with_its_effect() -> None:
    assert sorted(ROWS) == sorted(keys())
    assert {key: effect for key, (_, effect) in EDITS.items()} == ROWS


@pytest.mark.parametrize("key", [key for key, (_, effect) in EDITS.items() if effect not in {"one value", "none"}])
def test_a_change_has_the_effect_that_is_written(key: str) -> None:
    found = effects(EDITS[key][0])
    assert EDITS[key][1] in {effect for _, effect in found}
    assert any(name.split(".")[-1] == key.split(".")[-1] or key == "channels.name" for name, _ in found)


def test_nothing_differs_from_itself() -> None:
    assert effects() == set()


def test_a_channel_with_a_role_changes_what_other_features_are() -> None:
    def add(raw: Raw) -> None:
        raw["channels"].append({"name": "speed", "unit": "m/s", "minimum": 0, "maximum": 90, "role": "wind_speed"})

    assert effects(add) == {("channels.speed", "needs a migration")}
    assert effects(add_a_channel) == {("channels.noise", "taken over")}


@pytest.mark.parametrize(
    ("old", "new", "effect"),
    [
        (60, 10, "taken over"), (60, 1, "taken over"), (300, 60, "taken over"), (10, 60, "needs another store"),
        (15, 10, "needs another store"), (60, 300, "needs another store"),
    ],
)  # fmt: skip
def test_only_parts_of_the_old_resolution_are_taken_over(old: int, new: int, effect: str) -> None:
    before, after = (shape_of(changed(edit("resolution_s", each))) for each in (old, new))
    assert [(each.key, each.effect) for each in changes([before], after)] == [("resolution_s", effect)]
    assert decode(encode([before, after])) == [before, after]
    assert (b"resolution_s" in encode([before])) == (old != 60)  # what was written before there was one stays


def test_a_channel_that_comes_back_in_another_unit_needs_another_store() -> None:
    def other(raw: Raw) -> None:
        add_a_channel(raw)
        raw["channels"][-1]["unit"] = "B"

    versions = [shape_of(changed(*edits)) for edits in ((), (add_a_channel,), ())]
    found = {change.key: change.effect for change in changes(versions, shape_of(changed(other)))}
    assert found == {"channels.noise.unit": "needs another store", "channels.noise": "taken over"}


def test_shapes_are_read_as_they_were_written_and_make_the_scenario_of_then() -> None:
    versions = [shape_of(changed()), shape_of(changed(wider))]
    assert decode(encode(versions)) == versions
    assert shape_of(as_was(changed(wider), versions[0])) == versions[0]


@pytest.mark.parametrize("raw", [b"{", b"{}", b'{"format": 2, "versions": []}', b'{"format": 1, "versions": []}'])
def test_a_damaged_document_is_refused(raw: bytes) -> None:
    with pytest.raises(ContractBroken, match=r"scenario\.json"):
        decode(raw)


def test_what_a_model_rests_on_leaves_limits_and_lateness_out() -> None:
    assert meaning(changed(wider)) == meaning(changed()) == meaning(changed(EDITS["lateness"][0]))
    assert meaning(changed(EDITS["horizon"][0])) != meaning(changed())
