"""How the commands show what they found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from local.books.recount import Books
from local.inspect.console import cell, table, write_line

LONGEST_NAME = 36
COUNTED = (
    "applied",
    "duplicates",
    "stored_late",
    "conflicts",
    "refused",
    "redelivered",
    "forecasts",
    "first_forecasts",
)
BOOKED = ("applied", "stored_late", "duplicates", "conflicts", "refused", "redelivered", "predictions", "expired")


def verdict(summary: dict[str, Any]) -> str:
    """What became of a file, and why."""
    if not summary.get("reason"):
        return str(summary["status"])
    detail = str(summary.get("detail")).removeprefix(f"{summary['reason']}: ")
    return f"{summary['status']}, {summary['reason']}: {detail}"


def is_empty(summary: dict[str, Any]) -> bool:
    """Whether a file was read to its end and held no rows, as a capture of an hour without messages."""
    return summary["status"] == "done" and not summary["rows_in"]


def show_summary(
    console: Console, summary: dict[str, Any], target: str = "the target", resolution_s: int | None = None
) -> None:
    """A file's summary as a few lines; `target` is what is forecast, `resolution_s` as the scenario says."""
    write_line(console, f"{summary['file']}: {verdict(summary)}")
    if is_empty(summary):
        write_line(console, "  there is nothing in it: no rows")
    if summary["status"] == "refused" or is_empty(summary):
        return
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in summary.get("rejected", {}).items())
    rows = ", ".join(f"{summary[f'rows_{what}']:,} {what}" for what in ("in", "accepted", "rejected"))
    write_line(console, f"  rows: {rows}" + (f" ({rejected})" if rejected else ""))
    for reason, example in summary.get("examples", {}).items():
        write_line(console, f"    {reason}: {example}", "yellow")
    _show_columns(console, summary)
    if (known := summary.get("rows_with_target")) is not None:
        short = "nothing can be learned or judged from them" if not known else ""
        line = f"  {target} is known in {known:,} of the accepted rows{short and f': {short}'}"
        write_line(console, line, "red" if short else None)
    _show_dropped(console, summary)
    if parts := [f"{summary[name]:,} {name.replace('_', ' ')}" for name in COUNTED if summary.get(name)]:
        write_line(console, f"  {', '.join(parts)}")
    if summary.get("conflicts") and resolution_s is not None:
        same = f"other values of a device within the same {resolution_s} s, of which the first counts"
        write_line(console, f"    conflicts: {same}; resolution_s in the scenario says how long", "yellow")
    if summary.get("rmse") is not None:
        naive = summary.get("rmse_persistence")
        beside = f", persistence {naive:.2f}" if naive is not None else ""
        write_line(console, f"  RMSE {summary['rmse']:.2f}{beside} where the file itself holds the later truth")


def _show_columns(console: Console, summary: dict[str, Any]) -> None:
    if summary.get("ignored"):
        write_line(console, f"  columns not used: {', '.join(map(str, summary['ignored']))}", "yellow")
    if assumed := summary.get("assumed"):
        taken = ", ".join(f"{column} as {what}" for column, what in assumed.items())
        write_line(console, f"  no unit was told, so it was taken: {taken}")


def _show_dropped(console: Console, summary: dict[str, Any]) -> None:
    for channel, reasons in (summary.get("dropped") or {}).items():
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        write_line(console, f"  dropped values of {channel}: {counts}")
    for line in summary.get("warnings") or ():
        write_line(console, f"  {line}", "yellow")


def show_status(
    console: Console, health: dict[str, Any], functions: Sequence[dict[str, Any]], files: Sequence[dict[str, Any]]
) -> None:
    """Who serves, what runs, how far it is, what became of files."""
    champion = health["champion"] or "none yet, the baseline answers"
    console.print(f"scenario {health['scenario']}, champion {champion}", markup=False)
    _scores(console, health)
    for version, why in health["refused"].items():
        write_line(console, f"refused {version}: {why}", "red")
    _show_warnings(console, health)
    console.print()
    ran = table(("function", "kind", "next run (UTC)"), ("invocations", "failures"))
    ran.add_column("last error")
    for item in functions:
        error = Text(str(item.get("last_error") or ""), style="red")
        due = str(item.get("next", ""))[:16].replace("T", " ")
        ran.add_row(item["name"], item["type"], due, f"{item['invocations']:,}", f"{item['failures']:,}", error)
    console.print(ran)
    if health["partitions"]:
        held = table(("partition",), ("next event", "devices", "applied", "forecasts", "first forecasts"))
        for number, found in health["partitions"].items():
            counts = (found[name] for name in ("next", "devices", "applied", "forecasts", "first_forecasts"))
            held.add_row(str(number), *(f"{count:,}" for count in counts))
        console.print()
        console.print(held)
    if files:
        console.print()
        console.print(_files(files))


def _scores(console: Console, health: dict[str, Any]) -> None:
    """How good matured forecasts were: those of champions, and apart those of the baseline."""
    for name, what in (("quality", "champions'"), ("baseline", "baseline's")):
        found = health.get(name, {})
        if found.get("matured"):
            scores = ", ".join(f"{score} {value:,}" for score, value in found.items() if score != "matured")
            write_line(console, f"{found['matured']:,} of the {what} forecasts matured: {scores}")


def _show_warnings(console: Console, health: dict[str, Any]) -> None:
    for line in health.get("warnings", ()):
        write_line(console, line, "yellow")
    if drift := health.get("drift"):
        write_line(console, f"drift {drift['kind']}: {'; '.join(drift['reasons'])}")
        for each in drift.get("not_judged", []):
            write_line(console, f"  not judged: {each}", "yellow")


def _files(files: Sequence[dict[str, Any]]) -> Table:
    found = table(("file",), ("rows", "accepted", "rejected", "forecasts"))
    found.add_column("what became of it")
    for summary in files:
        counts = [summary.get(name) or 0 for name in ("rows_in", "rows_accepted", "rows_rejected", "forecasts")]
        style = {"done": "", "refused": "red"}.get(summary["status"], "yellow")
        became = Text(verdict(summary), style=style)
        found.add_row(cell(summary["file"], LONGEST_NAME), *(f"{n:,}" for n in counts), became)
    return found


def show_books(console: Console, found: Books) -> None:
    """The books as a table, and what does not balance; columns of nothing but zeros are left out."""
    accounts = (*found.partitions, *found.sources)
    names = [name for name in BOOKED if name == "applied" or any(account.counts[name] for account in accounts)]
    lines = table(("",), ("records", *(name.replace("_", " ") for name in names), "dead letters"))
    for account in accounts:
        counts = (f"{account.counts[name]:,}" for name in names)
        lines.add_row(cell(account.name, LONGEST_NAME), f"{account.logged:,}", *counts, f"{account.dead:,}")
    console.print(lines)
    console.print()
    for note in found.notes:
        write_line(console, f"note: {note}", "yellow")
    if dropped := found.dropped:
        told = (f"{name} {count:,} {reason}" for name, of in dropped.items() for reason, count in of.items())
        write_line(console, f"values dropped from readings: {', '.join(told)}")
    if found.waiting:
        known = sum(account.logged for account in found.sources)
        write_line(console, f"not yet: {found.waiting:,} of about {known:,} records still wait; look again", "yellow")
    for problem in found.problems:
        early = "as it stands" if found.waiting else "does not balance"
        write_line(console, f"{early}: {problem}", "yellow" if found.waiting else "red")
    if found.balance:
        sums = found.totals()
        shares = ("applied", "stored_late", "duplicates", "dead_lettered")
        parts = " + ".join(f"{sums[name]:,} {name.replace('_', ' ')}" for name in shares)
        console.print(f"the books balance: {sums['arrived']:,} arrived = {parts}", soft_wrap=True)
        console.print(f"beside it: {sums['redelivered']:,} redelivered, {sums['expired']:,} expired")
