"""Who speaks in a message: a device, or the hub that tells of a change of a device's twin, life or connection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

_LONGEST = 64  # characters of a name that is remembered: longer ones are nobody's
_SOURCE, _SCHEMA, _OPERATION, _HUB = "iothubmessagesource", "iothubmessageschema", "optype", "hubname"


def plain(name: str) -> str:
    """A property's name as any of Azure's services may spell it.

    >>> plain("iothub-connection-device-id"), plain("connectionDeviceId")
    ('iothubconnectiondeviceid', 'connectiondeviceid')
    """
    return _known(name) if len(name) <= _LONGEST else _plain(name)


def facts_of(value: object) -> dict[str, object]:
    """Entries by plain name; none where it is no object."""
    return {plain(name): entry for name, entry in value.items()} if isinstance(value, dict) else {}


def is_telemetry(properties: Mapping[str, object]) -> bool:
    """Whether a message with these properties was sent by a device.

    >>> is_telemetry({"iothub-message-source": "twinChangeEvents"}), is_telemetry({"hubName": "a", "color": "red"})
    (False, True)
    """
    return from_device(facts_of(properties))


def from_device(facts: Mapping[str, object]) -> bool:
    """The same of properties by plain name."""
    source = facts.get(_SOURCE)
    if source is not None:
        return str(source).casefold() == "telemetry"
    return _SCHEMA not in facts and not (_OPERATION in facts and _HUB in facts)


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


_known = lru_cache(maxsize=2048)(_plain)
