"""Ports and connection strings of the local stack."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

ACCOUNT = "devstoreaccount1"
# not a secret: the key that every Azurite has, from its documentation
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True, slots=True)
class Ports:
    """Preferred ports; one that is taken, or 0, is replaced by any free one."""

    azurite: int = 10000
    eventhub: int = 5672
    host: int = 7071


ANY_PORTS = Ports(0, 0, 0)


def storage_connection(port: int) -> str:
    """Connection string of Azurite's blob service on a port."""
    address = f"http://127.0.0.1:{port}/{ACCOUNT}"
    return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};BlobEndpoint={address};"


def eventhub_connection(port: int) -> str:
    """Connection string of our endpoint on a port; it takes any key."""
    return (
        f"Endpoint=sb://localhost:{port};SharedAccessKeyName=local;SharedAccessKey=local;UseDevelopmentEmulator=true;"
    )


def with_ports(values: Mapping[str, str], azurite: int, eventhub: int) -> dict[str, str]:
    """Settings with the ports that this stack really has.

    Args:
        values: As in local.settings.json, written for the default ports.
        azurite: Port of Azurite.
        eventhub: Port of the endpoint.

    >>> with_ports({"A": "Endpoint=sb://localhost;Key=x", "B": "http://127.0.0.1:10000/devstoreaccount1"}, 1, 2)
    {'A': 'Endpoint=sb://localhost:2;Key=x', 'B': 'http://127.0.0.1:1/devstoreaccount1'}
    """
    found = {}
    for name, value in values.items():
        text = value.replace("UseDevelopmentStorage=true", storage_connection(azurite))
        text = re.sub(r"(sb://(?:localhost|127\.0\.0\.1))(?::\d+)?", rf"\g<1>:{eventhub}", text)
        found[name] = re.sub(rf"(http://127\.0\.0\.1):\d+(/{ACCOUNT})", rf"\g<1>:{azurite}\g<2>", text)
    return found
