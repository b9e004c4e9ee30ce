"""What a function app declares, and what of it this host can drive."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.host.retry import Retry

SUPPORTED = ("eventHubTrigger", "blobTrigger", "timerTrigger", "eventGridTrigger", "httpTrigger")
PLACES = ("ConnectionStrings:", "")


class HostError(Exception):
    """The app or its settings cannot be run; the message is for the person who started the host."""


@dataclass(frozen=True, slots=True)
class Indexed:
    """One function as a worker has indexed it.

    Args:
        name: Function name.
        bindings: Each binding as it stands in function.json (camel case keys), the trigger among them.
        retry: Its retry policy, if it has one.
    """

    name: str
    bindings: Sequence[Mapping[str, Any]]
    retry: Retry | None

    @property
    def trigger(self) -> Mapping[str, Any]:
        """The binding that calls it."""
        return next(each for each in self.bindings if str(each["type"]).lower().endswith("trigger"))


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One function of the app.

    Args:
        name: Function name.
        kind: Type of its trigger.
        binding: The trigger as it stands in function.json (camel case keys).
        retry: Its retry policy, if it has one.
        missing: What of it this host cannot drive though Azure can; None when it can drive all.
    """

    name: str
    kind: str
    binding: Mapping[str, Any]
    retry: Retry | None = None
    missing: str | None = None


def declare(functions: Sequence[Indexed]) -> list[Declared]:
    """The functions of an app with their triggers.

    Raises:
        HostError: Two functions have one name; the host does not tell capital letters from small ones.
    """
    names = [each.name.lower() for each in functions]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise HostError(f"two functions have the name {', '.join(twice)}")
    return [_declared(each) for each in functions]


def _declared(function: Indexed) -> Declared:
    return Declared(
        name=function.name,
        kind=function.trigger["type"],
        binding=function.trigger,
        retry=function.retry,
        missing=_missing(function.trigger, function.bindings),
    )


def _missing(trigger: Mapping[str, Any], bindings: Sequence[Mapping[str, Any]]) -> str | None:
    kind = trigger["type"]
    if kind not in SUPPORTED:
        return f"trigger {kind} is not supported; supported are {', '.join(SUPPORTED)}"
    answer = "http" if kind == "httpTrigger" else None
    for other in bindings:
        if other is not trigger and other["type"] != answer:
            return f"binding {other['type']} is not supported; use the SDK inside the function"
    if kind != "eventHubTrigger":
        return None
    if str(trigger.get("cardinality", "")).lower() != "many":
        return 'only cardinality="many" is supported'
    if str(trigger.get("dataType", "")).lower() != "binary":
        return 'needs data_type="binary": otherwise one body that is not JSON fails the whole batch in Azure'
    return None


def resolve(value: str, settings: Mapping[str, str]) -> str:
    """Replace each `%NAME%` by the setting of that name, in whatever case it stands, as in the Functions host.

    Raises:
        HostError: A setting is missing.
    """
    known = {name.casefold(): text for name, text in settings.items()}

    def setting(match: re.Match[str]) -> str:
        found = known.get(match[1].casefold())
        if not found:
            raise HostError(f"setting {match[1]}, which {value} refers to, is missing")
        return found

    return re.sub(r"%([^%]+)%", setting, value)


def connection(name: str, settings: Mapping[str, str]) -> str:
    """The connection string that a trigger's `connection` names, looked up as the Functions host does it.

    The host looks behind its own prefix first, and its settings have no case: a connection named STORAGE would be the
    host's own AzureWebJobsStorage.

    Raises:
        HostError: There is none, or an identity stands in its place.
    """
    known = {key.casefold().replace("__", ":"): value for key, value in settings.items() if value}
    for section in (f"{place}{prefix}{name}".casefold() for prefix in ("AzureWebJobs", "") for place in PLACES):
        if section in known:
            return known[section]
        if any(key.startswith(f"{section}:") for key in known):
            raise HostError(
                f"connection setting {name} names an identity; the local host takes connection strings only"
            )
    raise HostError(f"connection setting {name} is missing; the local host takes connection strings only")
