"""`python -m local ledger`: the decision log as a table, and its verification."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local.__main__ import main
from local.inspect import ledger as shown
from local.stack import workspace
from local.stack.workspace import Workspace
from shared.adapters.stores import scenario_files
from shared.app.ledger_store import Ledger
from shared.app.loop.retraining import Retraining
from shared.core import ledger
from shared.core.ledger import Tail
from shared.core.retrain.signals import Signals
from shared.errors import ContractBroken
from tests.kit import HandClock, MemoryBlobs, MemoryJobs

AIR = scenario_files.load("air_quality")
DRIFT = Signals(check="c1", dataset="lake@1", labelled_rows=9000, champion="v1", drift="population", magnitude=2.0)


def filled() -> MemoryBlobs:
    """A ledger with a decision to train, its launch, and a refused wish."""
    blobs, clock = MemoryBlobs(), HandClock()
    use = Retraining(AIR, Ledger(AIR.name, blobs, clock), MemoryJobs(), clock)
    use.consider(DRIFT)
    use.launch()
    use.consider(DRIFT, "[b]ann[/nope]\x1b[31m", "again")
    return blobs


def run(blobs: Any, action: str = "show", *kinds: str) -> int:
    space = Workspace(Path(), "", "", AIR, blobs)
    return shown.run(space, action, kinds)


def test_verify_tells_how_many_entries_there_are_and_the_newest_hash(capsys: pytest.CaptureFixture[str]) -> None:
    blobs = filled()
    assert run(blobs, "verify") == 0
    newest = Ledger(AIR.name, blobs, HandClock()).entries()[-1].hash
    assert capsys.readouterr().out == f"4 entries, each follows on the one before: OK, the newest has hash {newest}\n"
    assert run(MemoryBlobs(), "verify") == 0
    assert capsys.readouterr().out == "0 entries, each follows on the one before: OK\n"


@pytest.mark.parametrize("action", ["verify", "show"])
def test_a_broken_ledger_ends_with_1_and_one_line_that_names_the_place(
    action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = filled()
    name = blobs.names("ledger")[1]
    raw = blobs.read("ledger", name) or b""
    blobs.write("ledger", name, raw.replace(b"population", b"populatiom", 1))
    space = Workspace(Path(), "", "", AIR, blobs)  # type: ignore[arg-type]
    with pytest.raises(ContractBroken):
        shown.run(space, action, [])
    monkeypatch.setattr(workspace.Workspace, "of", classmethod(lambda *_: space))
    assert main(["ledger", action]) == 1
    said = capsys.readouterr()
    assert said.err.startswith(f"ledger/{name} line 1: hash is ")
    assert (said.err.count("\n"), said.out) == (1, "")


def test_entries_are_shown_newest_last_with_hostile_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(filled()) == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert [line.split()[0] for line in lines if line[:2].strip().isdigit()] == ["0", "1", "2", "3"]
    assert "train: drift -> air_quality-000001" in text
    assert "no: manual, but refused for running" in text
    assert "[b]ann[/nope]?[31m" in text
    assert "\x1b" not in text
    assert "2027-01-15 08:00 " in text


def test_a_kind_can_be_picked(capsys: pytest.CaptureFixture[str]) -> None:
    run(filled(), "show", "launched")
    out = capsys.readouterr().out
    assert "dataset lake@1, reason drift" in out
    assert "decision" not in out
    run(filled(), "show", "gate")
    assert capsys.readouterr().out == "no entries\n"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_fits_the_terminal(width: int) -> None:
    console = Console(file=(out := io.StringIO()), width=width, highlight=False)
    long = ledger.make("air", Tail(), 0, "registered", "k" * 300, {"why": "w\n" * 900, "deep": {"a": 1}}, "a" * 90)
    shown.show(console, [long])
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "deep" not in out.getvalue()
    assert "1970-01-01 00:00 " in out.getvalue()


def test_a_no_for_nothing_says_so_and_other_entries_show_their_single_facts() -> None:
    plain = ledger.make("air", Tail(), 0, "decision", "k", {"launch": False, "reason": "none", "refusals": []}, "x")
    assert shown.summary(plain) == "no: nothing speaks for it"
    other = ledger.make("air", Tail(), 0, "gate", "k", {"n": 0, "ok": True, "empty": "", "none": None, "l": [1]}, "x")
    assert shown.summary(other) == "n 0, ok True"
    assert json.loads(ledger.line(other))["data"]["l"] == [1]
