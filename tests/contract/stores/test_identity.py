"""Which identity the app's clients ask for, at a stand-in for the endpoint that App Service gives to every app."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.identity import DefaultAzureCredential
from azure.identity.aio import DefaultAzureCredential as AsyncDefault

from shared.adapters.lake.delta.storage_options import SCOPE, storage_options
from shared.adapters.stores.event_hub import EventHubStream
from shared.adapters.stores.identity import Identity
from shared.errors import ConfigError
from shared.settings import Settings
from shared.wiring.ports import blobs_identity, connect

pytestmark = pytest.mark.emulator
CLIENT = "00000000-0000-4000-8000-00000000abcd"
OTHER = "00000000-0000-4000-8000-00000000dcba"
READINGS = {"READINGS__fullyQualifiedNamespace": "name.servicebus.windows.net"}
Asked = list[dict[str, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """What was asked of the endpoint; it knows every identity but `OTHER`."""
    seen: Asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            seen.append(query)
            known = query.get("client_id") != OTHER
            token = {"access_token": f"of {query.get('client_id', 'system')}", "expires_on": "4102444800"}
            body = json.dumps(token | {"resource": query["resource"], "token_type": "Bearer"} if known else {}).encode()
            self.send_response(200 if known else 400)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on the screen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    yield seen
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("client", [None, CLIENT])
def test_a_managed_identity_is_asked_for_by_its_client_id(asked: Asked, client: str | None) -> None:
    assert Identity(True, client).credential().get_token(SCOPE).token == f"of {client or 'system'}"

    async def on_a_loop() -> str:
        async with Identity(True, client).async_credential() as credential:
            return (await credential.get_token(SCOPE)).token

    assert asyncio.run(on_a_loop()) == f"of {client or 'system'}"
    assert [query.get("client_id") for query in asked] == [client, client]


def test_the_lake_asks_with_the_identity_of_the_blobs_and_says_when_there_is_none(asked: Asked) -> None:
    options = storage_options(None, "https://name.blob.core.windows.net", Identity(True, CLIENT))
    assert options()["azure_storage_token"] == f"of {CLIENT}"
    assert [query["client_id"] for query in asked] == [CLIENT]
    with pytest.raises(ConfigError, match=r"lake: no token for https://name\.blob\.core\.windows\.net: "):
        storage_options(None, "https://name.blob.core.windows.net", Identity(True, OTHER))()


def test_without_a_word_whatever_azure_identity_finds_is_taken() -> None:
    assert isinstance(Identity().credential(), DefaultAzureCredential)
    assert isinstance(Identity().async_credential(), AsyncDefault)


def test_each_connection_has_an_identity_of_its_own(environment: dict[str, str]) -> None:
    devices = {"TELEMETRY__fullyQualifiedNamespace": "devices.servicebus.windows.net", "TELEMETRY": ""}
    named = {"READINGS__credential": "managedidentity", "READINGS__clientId": CLIENT}
    ports = connect({**environment, **READINGS, **devices, **named, "READINGS": ""})
    assert isinstance(ports.stream, EventHubStream)
    assert isinstance(ports.devices, EventHubStream)
    assert (ports.stream._identity, ports.devices._identity) == (Identity(True, CLIENT), Identity())
    assert blobs_identity(Settings(blobs_credential="ManagedIdentity", blobs_client=OTHER)) == Identity(True, OTHER)
