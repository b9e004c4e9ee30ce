"""How a person names one forecast: `DEVICE@AS_OF`, `DEVICE@AS_OF#REVISION`, each perhaps with `/ROLE` behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone

from shared.core.model.scoring import ROLES
from shared.core.scenario.cadence import HOURLY, Cadence
from shared.errors import ConfigError

MOST_REVISIONS = 2**16
_EXAMPLE = "2026-11-20T10", "2026-11-20T10:20"
_HOUR = r"(?P<date>\d{4}-\d{2}-\d{2})[T ](?P<hour>\d{2})(?::(?P<minute>\d{2})(?::00)?)?(?:Z|\+00:00)?"
_AS_OF = re.compile(_HOUR, re.ASCII)
# The tail holds neither a second "@" nor any other free text, so a device id may hold whatever it likes.
_NAME = re.compile(
    rf"(?P<device>.+)@(?P<as_of>{_HOUR})(?:#(?P<revision>\d{{1,6}}))?(?:/(?P<role>{'|'.join(ROLES)}))?",
    re.ASCII | re.DOTALL,
)
_FORM = "DEVICE@AS_OF[#REVISION][/ROLE], such as station-7@2026-11-20T10#1/challenger"


@dataclass(frozen=True, slots=True)
class ForecastId:
    """Which forecast is meant.

    Args:
        device: Device id.
        as_of: As-of step since 1970.
        revision: Its revision, None for the newest.
        role: Who made it, one of `ROLES`; None for the one that users saw.
        cadence: Of the steps.
    """

    device: str
    as_of: int
    revision: int | None = None
    role: str | None = None
    cadence: Cadence = HOURLY

    def __str__(self) -> str:
        """The name as it may be given again."""
        revision = "" if self.revision is None else f"#{self.revision}"
        return f"{self.device}@{hour_text(self.as_of, self.cadence)}{revision}{f'/{self.role}' if self.role else ''}"


def parse(text: str, cadence: Cadence = HOURLY) -> ForecastId | None:
    """The forecast that a text names, None when it is of another form; device ids may hold `@`, `/` and `#`.

    Raises:
        ConfigError: It has the form, but there is no such hour or revision.

    >>> parse("a@b/c#d@2026-11-20T10#1/challenger")
    ForecastId(device='a@b/c#d', as_of=498658, revision=1, role='challenger', cadence=Cadence(step_s=3600, tick_s=60))
    """
    found = _NAME.fullmatch(text)
    if found is None or int(found["minute"] or 0) * 60 % cadence.step_s:
        return None
    revision = None if found["revision"] is None else int(found["revision"])
    return forecast_id_of(found["device"], found["as_of"], revision, found["role"], cadence)


def required(text: str, cadence: Cadence = HOURLY) -> ForecastId:
    """The forecast that a text names.

    Raises:
        ConfigError: It names none.
    """
    found = parse(text, cadence)
    if found is None:
        raise ConfigError(f"{text[:80]!a} does not name a forecast: write {_FORM}")
    return found


def forecast_id_of(
    device: str, as_of: str, revision: int | None = None, role: str | None = None, cadence: Cadence = HOURLY
) -> ForecastId:
    """A forecast from its parts.

    Args:
        device: Device id.
        as_of: As-of hour, ISO 8601 in UTC.
        revision: None for the newest.
        role: None for the one that users saw.
        cadence: Of the scenario.

    Raises:
        ConfigError: There is no such hour or revision.
    """
    if revision is not None and not 0 <= revision < MOST_REVISIONS:
        raise ConfigError(f"revision {revision} is outside 0 to {MOST_REVISIONS - 1}")
    return ForecastId(device, hour_of(as_of, cadence), revision, role, cadence)


def hour_of(text: str, cadence: Cadence = HOURLY) -> int:
    """Steps since 1970 of the time at which one begins, ISO 8601 in UTC.

    Raises:
        ConfigError: It is none.

    >>> hour_of("1970-01-02T01"), hour_of("1970-01-02 01:00:00Z"), hour_of("1970-01-01T01:10", Cadence(600))
    (25, 25, 7)
    """
    try:
        match = _AS_OF.fullmatch(text)
        whole = f"{match['date']}T{match['hour']}:{match['minute'] or '00'}" if match else ""
        found = datetime.strptime(whole, "%Y-%m-%dT%H:%M").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise ConfigError(_no_step(text, cadence)) from error
    step, rest = divmod(int(found.timestamp()), cadence.step_s)
    if rest:
        raise ConfigError(_no_step(text, cadence))
    return step


def _no_step(text: str, cadence: Cadence) -> str:
    what = "whole hour" if cadence.hour == 1 else f"whole step of {cadence.step_s} s"
    return f"{text[:80]!a} is not a {what} in UTC, such as {_EXAMPLE[cadence.hour > 1]}"


def hour_text(step: int, cadence: Cadence = HOURLY) -> str:
    """A step since 1970 as ISO 8601: an hour without minutes, a shorter one with them."""
    form = "%Y-%m-%dT%H" if cadence.hour == 1 else "%Y-%m-%dT%H:%M"
    return datetime.fromtimestamp(step * cadence.step_s, timezone.utc).strftime(form)


def time_text(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(ms // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
