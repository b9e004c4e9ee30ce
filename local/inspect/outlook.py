"""What `python -m local status` says of the way to a model: what is still missing, and how to make it happen now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from local.inspect.console import write_line
from local.inspect.ledger import summary
from local.stack.workspace import Workspace
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger

NOW = "`python -m local fire compact_lake check_drift` does both now"


def show_outlook(
    space: Workspace, console: Console, health: Mapping[str, Any], functions: Sequence[Mapping[str, Any]]
) -> None:
    """Rejected messages by reason, the newest verdict of the gate, and why there is no model yet."""
    for line in rejections(health):
        write_line(console, line, "yellow")
    verdicts = [
        entry for entry in Ledger(space.scenario.name, space.blobs, WallClock()).entries() if entry.kind == "gate"
    ]
    if verdicts:
        write_line(console, f"newest verdict of the gate: {summary(verdicts[-1])}")
    if not health["champion"]:
        lake = space.lake().dataset()
        write_line(
            console, outlook(health, functions, lake[1] if lake else 0, space.scenario.retrain.minimum_first_rows)
        )


def rejections(health: Mapping[str, Any]) -> list[str]:
    """What was refused of the devices' messages, by reason; nothing where all were accepted."""
    counts: Counter[str] = Counter()
    for found in health.get("routes", {}).values():
        counts.update(found.get("rejected", {}))
    if not counts:
        return []
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    return [f"messages refused: {by_reason}; `python -m local letters` shows them"]


def outlook(health: Mapping[str, Any], functions: Sequence[Mapping[str, Any]], in_lake: int, needed: int) -> str:
    """Why no model answers yet, and what comes next.

    Args:
        health: The health page.
        functions: Status of each function.
        in_lake: Readings in the lake.
        needed: Labelled rows that the first training needs.
    """
    applied = sum(found["applied"] for found in health["partitions"].values())
    if not applied:
        return "no model yet: no reading was applied so far; `python -m local drop FILE` or `send` brings some"
    due = {item["name"]: str(item.get("next", ""))[11:16] or "its time" for item in functions}
    lake, check = (due.get(name, "its time") for name in ("compact_lake", "check_drift"))
    return (
        f"no model yet: {applied:,} readings applied, {in_lake:,} in the lake, which is filled at {lake} UTC; training "
        f"needs {needed:,} labelled rows in it and is decided at {check} UTC; {NOW}"
    )
