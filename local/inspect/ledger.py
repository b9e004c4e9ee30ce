"""The decision log for people: as a table, and whether it still is as it was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from local.inspect.console import cell, new_console
from local.stack.workspace import Workspace
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.core.ledger import Entry
from shared.core.retrain.history import DECISION
from shared.errors import ConfigError

LONGEST, LONGEST_NAME = 400, 24


def run(space: Workspace, action: str, kinds: Sequence[str]) -> int:
    """Show or verify the ledger of a running stack.

    Raises:
        ContractBroken: It is not as it was written; names the first broken place.
        ConfigError: There is none of this scenario, but of another.
    """
    console, ledger = new_console(), Ledger(space.scenario.name, space.blobs, WallClock())
    count = ledger.verify()
    others = {name.partition("/")[0] for name in space.blobs.names("ledger")}
    if not count and others:
        raise ConfigError(f"there is no ledger of {space.scenario.name}, only of {', '.join(sorted(others))}")
    entries = ledger.entries()
    if action == "verify":
        newest = f", the newest has hash {entries[-1].hash}" if entries else ""
        console.print(f"{count:,} entries, each follows on the one before: OK{newest}", soft_wrap=True)
    else:
        show(console, [entry for entry in entries if not kinds or entry.kind in kinds])
    return 0


def show(console: Console, entries: Sequence[Entry]) -> None:
    """Entries as a table, the newest last."""
    if not entries:
        console.print("no entries")
        return
    found = Table(
        Column("", justify="right"),
        Column("when (UTC)", no_wrap=True),
        *(Column(name, no_wrap=True) for name in ("kind", "key", "actor")),
        Column("what", overflow="fold"),
        box=None,
        pad_edge=False,
    )
    for entry in entries:
        when = datetime.fromtimestamp(entry.at_ms // 1000, timezone.utc).strftime("%Y-%m-%d %H:%M")
        names = (cell(text, LONGEST_NAME) for text in (entry.kind, entry.key, entry.actor))
        found.add_row(str(entry.position), when, *names, cell(summary(entry), LONGEST))
    console.print(found)


def summary(entry: Entry) -> str:
    """An entry's data in one line."""
    return _decision(entry.data) if entry.kind == DECISION else _facts(entry.data)


def _decision(data: Mapping[str, Any]) -> str:
    if data["launch"]:
        return f"train: {data['reason']} -> {data['job']}"
    if data["reason"] == "none":
        return "no: nothing speaks for it"
    return f"no: {data['reason']}, but refused for {', '.join(data['refusals'])}"


def _facts(data: Mapping[str, Any]) -> str:
    """What is single and not empty."""
    return ", ".join(f"{name} {value}" for name, value in data.items() if _single(value))


def _single(value: object) -> bool:
    return isinstance(value, str | int | float) and value != ""
