"""Who speaks in a message: a device, or the hub that tells of a change of a device's twin, life or connection."""

from __future__ import annotations

from collections.abc import Mapping

_SOURCE, _SCHEMA, _OPERATION, _HUB = "iothubmessagesource", "iothubmessageschema", "optype", "hubname"


def plain(name: str) -> str:
    """A property's name as any of Azure's services may spell it.

    >>> plain("iothub-connection-device-id"), plain("connectionDeviceId")
    ('iothubconnectiondeviceid', 'connectiondeviceid')
    """
    return name.casefold().replace("-", "").replace("_", "")


def is_telemetry(properties: Mapping[str, object]) -> bool:
    """Whether a message with these properties was sent by a device.

    >>> is_telemetry({"iothub-message-source": "twinChangeEvents"}), is_telemetry({"hubName": "a", "color": "red"})
    (False, True)
    """
    facts = {plain(name): value for name, value in properties.items()}
    source = facts.get(_SOURCE)
    if source is not None:
        return str(source).casefold() == "telemetry"
    return _SCHEMA not in facts and not {_OPERATION, _HUB} <= facts.keys()
