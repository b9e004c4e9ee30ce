"""The route of a device's forecasts: what may be asked for, checked, and the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from shared.app.api.replies import CSV, Reply, problem
from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.forecast_id import hour_of
from shared.app.lookback.forecast_pages import as_csv, as_json
from shared.app.lookback.forecasts import Span, served
from shared.core.intake.readings import id_problem, shown
from shared.core.scenario.cadence import HOURLY, Cadence
from shared.core.task.calendar import DAY_HOURS
from shared.errors import ConfigError, PipelineError, TransientFailure

USUAL, MOST = DAY_HOURS, 366 * DAY_HOURS  # forecasts in an answer
DAYS = 92  # of the lake that are looked into for the newest forecasts
FORMATS = ("json", "csv")
TAKEN = ("last", "from", "to", "format")
KEYS = ("code", "clientid")  # of a function key in the address


def forecasts(
    history: Callable[[], CommitHistory],
    device: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    cadence: Cadence = HOURLY,
) -> Reply:
    """A device's forecasts, newest first.

    Args:
        history: Gives what was committed.
        device: Device id, as somebody wrote it.
        query: `last`, how many of the newest (default: 24); or `from` and `to`, as-of hours in UTC of which at most
            8,784 are answered, counted from the one that is given; `format`, json (the default) or csv.
        headers: With lower-case names; `accept: text/csv` means csv too.
        cadence: Of the scenario.

    Returns:
        200 with JSON or CSV; problem details with 400 for what cannot be asked, 404 where there is no such forecast,
        503 where the store or the settings are at fault, 500 where what was stored is damaged.
    """
    try:
        span, form = span_of(query, cadence), _format(query, headers)
        _check(device)
    except ConfigError as error:
        return problem(400, "bad_request", str(error))
    try:
        past = history()
        found = served(past, device, span, None if "from" in query or "to" in query else DAYS)
    except PipelineError as error:
        later = isinstance(error, (TransientFailure, ConfigError))
        return problem(503 if later else 500, "unavailable" if later else "damaged", str(error))
    if not found:
        return problem(404, "no_forecast", missing(device, "from" in query or "to" in query))
    return Reply(200, as_csv(found), CSV) if form == "csv" else Reply(200, as_json(past.task, found, device))


def span_of(query: Mapping[str, str], cadence: Cadence = HOURLY) -> Span:
    """Which forecasts a query means.

    Raises:
        ConfigError: None that may be asked for: the message names key, value and what is allowed.
    """
    if unknown := sorted(name for name in query if name not in TAKEN and name.casefold() not in KEYS):
        raise ConfigError(f"{shown(unknown[0])} is not known here: there are {', '.join(TAKEN)}")
    first, last = (_hour(name, query[name], cadence) if name in query else None for name in ("from", "to"))
    if first is None and last is None:
        return Span(_most(query.get("last", str(USUAL))))
    if "last" in query:
        raise ConfigError("last: give either last, or from and to, not both")
    if first is None:
        first = (last or 0) - MOST + 1
    last = first + MOST - 1 if last is None else last
    if not first <= last < first + MOST:
        raise ConfigError(f"to: is not from `from` on to {MOST:,} as-of hours, the first one counted")
    return Span(MOST, first, last)


def missing(device: str, spanned: bool) -> str:
    """Why there is nothing of a device."""
    if spanned:
        return f"device {shown(device)} has no forecast from as-of hours of that time"
    return (
        f"device {shown(device)} has no forecast in the newest {DAYS} days of forecasts; `from` and `to` reach further"
    )


def _check(device: str) -> None:
    if wrong := id_problem(device) if device else "is empty":
        raise ConfigError(f"device: {shown(device)} {wrong}")


def _most(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST:
        raise ConfigError(f"last: {shown(text)} is not a whole number from 1 to {MOST:,}")
    return int(text)


def _hour(name: str, text: str, cadence: Cadence) -> int:
    try:
        return hour_of(text, cadence)
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error


def _format(query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    accepted = "csv" if headers.get("accept", "").startswith(CSV) else "json"
    found = query.get("format", accepted)
    if found not in FORMATS:
        raise ConfigError(f"format: {shown(found)} is neither json nor csv")
    return found
