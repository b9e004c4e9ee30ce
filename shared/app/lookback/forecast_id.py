"""How a person names one forecast: `DEVICE@AS_OF`, `DEVICE@AS_OF#REVISION`, each perhaps with `/ROLE` behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone

from shared.core.model.scoring import ROLES
from shared.errors import ConfigError

HOUR_S = 3600
MOST_REVISIONS = 2**16
_HOUR = r"\d{4}-\d{2}-\d{2}[T ]\d{2}(?::00(?::00)?)?(?:Z|\+00:00)?"
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
        as_of: As-of hour since 1970.
        revision: Its revision, None for the newest.
        role: Who made it, one of `ROLES`; None for the one that users saw.
    """

    device: str
    as_of: int
    revision: int | None = None
    role: str | None = None

    def __str__(self) -> str:
        """The name as it may be given again."""
        revision = "" if self.revision is None else f"#{self.revision}"
        return f"{self.device}@{hour_text(self.as_of)}{revision}{f'/{self.role}' if self.role else ''}"


def parse(text: str) -> ForecastId | None:
    """The forecast that a text names, None when it is of another form; device ids may hold `@`, `/` and `#`.

    Raises:
        ConfigError: It has the form, but there is no such hour or revision.

    >>> parse("a@b/c#d@2026-11-20T10#1/challenger")
    ForecastId(device='a@b/c#d', as_of=498658, revision=1, role='challenger')
    """
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    revision = None if found["revision"] is None else int(found["revision"])
    return forecast_id_of(found["device"], found["as_of"], revision, found["role"])


def required(text: str) -> ForecastId:
    """The forecast that a text names.

    Raises:
        ConfigError: It names none.
    """
    found = parse(text)
    if found is None:
        raise ConfigError(f"{text[:80]!a} does not name a forecast: write {_FORM}")
    return found


def forecast_id_of(device: str, as_of: str, revision: int | None = None, role: str | None = None) -> ForecastId:
    """A forecast from its parts.

    Args:
        device: Device id.
        as_of: As-of hour, ISO 8601 in UTC.
        revision: None for the newest.
        role: None for the one that users saw.

    Raises:
        ConfigError: There is no such hour or revision.
    """
    if revision is not None and not 0 <= revision < MOST_REVISIONS:
        raise ConfigError(f"revision {revision} is outside 0 to {MOST_REVISIONS - 1}")
    return ForecastId(device, hour_of(as_of), revision, role)


def hour_of(text: str) -> int:
    """Hours since 1970 of a whole hour, ISO 8601 in UTC.

    Raises:
        ConfigError: It is none.

    >>> hour_of("1970-01-02T01"), hour_of("1970-01-02 01:00:00Z")
    (25, 25)
    """
    try:
        whole = text[:13] if _AS_OF.fullmatch(text) else ""
        found = datetime.strptime(whole.replace(" ", "T"), "%Y-%m-%dT%H").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise ConfigError(f"{text[:80]!a} is not a whole hour in UTC, such as 2026-11-20T10") from error
    return int(found.timestamp()) // HOUR_S


def hour_text(hour: int) -> str:
    """An hour since 1970 as ISO 8601, without minutes."""
    return datetime.fromtimestamp(hour * HOUR_S, timezone.utc).strftime("%Y-%m-%dT%H")


def time_text(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(ms // 1000, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
