"""The command that migrates a store says what it would do, and does it when told."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from local import migrate as command
from local.stack.process import StackError
from shared.app.evolution import stored
from shared.core.scenario import Scenario
from shared.errors import ConfigError
from tests.kit import MemoryBlobs
from tests.kit.edits import EDITS, Edited, add_a_channel, changed


@pytest.fixture
def app(tmp_path: Path) -> Edited:
    return Edited(tmp_path)


def said(scenario: Scenario, blobs: MemoryBlobs, *, apply: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    code = command.run(Console(file=out, width=200), scenario, blobs, apply=apply)
    return code, out.getvalue()


def test_without_apply_it_says_what_would_be_kept_and_changes_nothing(app: Edited) -> None:
    before = app.blobs.everything()
    code, text = said(changed(EDITS["horizon"][0]), app.blobs)
    assert code == 0
    assert "horizon: 3 in the store, 4 in the file" in text
    assert "forecasts that wait and error sums begin anew" in text
    assert "nothing was changed" in text
    assert app.blobs.everything() == before


def test_with_apply_the_app_starts_under_the_new_scenario(app: Edited) -> None:
    wanted = changed(EDITS["horizon"][0], add_a_channel)
    with pytest.raises(ConfigError):
        app.restart(wanted)
    code, text = said(wanted, app.blobs, apply=True)
    assert (code, "done" in text) == (0, True)
    assert "channels.noise: None in the store, 'added' in the file" in text
    app.restart(wanted)
    assert len(stored(app.blobs)[0]) == 2


def test_twice_is_once(app: Edited) -> None:
    wanted = changed(EDITS["horizon"][0])
    said(wanted, app.blobs, apply=True)
    code, text = said(wanted, app.blobs, apply=True)
    assert (code, "nothing to migrate" in text) == (1, True)
    assert len(stored(app.blobs)[0]) == 2


def test_going_back_on_purpose_is_a_migration(app: Edited) -> None:
    app.restart(changed(add_a_channel))
    assert said(changed(), app.blobs, apply=True)[0] == 0
    app.restart(changed())
    assert len(stored(app.blobs)[0]) == 3


@pytest.mark.parametrize("key", [key for key, (_, effect) in EDITS.items() if effect == "needs a migration"])
def test_every_key_that_needs_a_migration_has_words_of_its_own(key: str) -> None:
    assert key in command.KEPT or key.rsplit(".", 1)[-1] in command.KEPT or key == "channels.name"


def test_an_empty_store_has_nothing_to_migrate() -> None:
    with pytest.raises(ConfigError, match="it begins when the app first starts"):
        said(changed(), MemoryBlobs(), apply=True)


def test_the_store_is_that_of_the_app_whose_settings_stand_in_the_environment() -> None:
    with pytest.raises(ConfigError, match="READINGS__fullyQualifiedNamespace"):
        command.store_of(Path("nowhere"), {"BLOBS__blobServiceUri": "https://a.blob.core.windows.net"})
    with pytest.raises(StackError, match="no stack is running on nowhere"):
        command.store_of(Path("nowhere"), {})
