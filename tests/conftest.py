"""What the tests share: the template's settings as environment, and one Azurite and one endpoint for the whole run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.stack.stack import ANY_PORTS, Stack
from shared.adapters.stores import scenario_files
from shared.settings import from_env
from shared.wiring import CONTAINERS

TEMPLATE = Path(__file__).resolve().parents[1] / "local.settings.json.template"


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[dict[str, str]]:
    """The template's settings, as `func start` would give them; one that is missing or wrong fails every test."""
    values: dict[str, str] = json.loads(TEMPLATE.read_text("utf-8"))["Values"]
    from_env(values, scenario_files.names())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield values


@pytest.fixture(scope="session")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Azurite with the application's containers and the endpoint with a hub, on free ports."""
    root = tmp_path_factory.mktemp("stack")
    with Stack(root, app_dir=None, ports=ANY_PORTS, containers=CONTAINERS, hubs=["readings:3"]) as stack:
        yield stack


@pytest.fixture(scope="session")
def azurite(local_stack: Stack) -> str:
    """Connection string of Azurite."""
    return local_stack.storage


@pytest.fixture(scope="session")
def endpoint(local_stack: Stack) -> str:
    """Connection string of the Event Hubs endpoint."""
    return local_stack.eventhub
