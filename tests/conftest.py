"""What the tests share: the template's settings as environment, one Azurite and one endpoint for each process of a run.

`pytest -n auto` spreads the test modules over processes. Those that wait for other processes begin first, so that the
others compute meanwhile. A run that changes the checkout fails.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from local.stack.addresses import ANY_PORTS
from local.stack.stack import Stack
from shared.adapters.stores import scenario_files
from shared.settings import from_env
from shared.wiring import CONTAINERS
from tests import ROOT
from tests.kit import checkout

TEMPLATE = ROOT / "local.settings.json.template"
FIRST = ("tests/e2e/", "tests/contract/", "tests/flow/")
BEFORE = pytest.StashKey[dict[str, tuple[int, int]]]()
CHANGES = pytest.StashKey[list[str]]()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait. Each takes half a gigabyte."""
    return min((os.cpu_count() or 1) + 1, 8)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.path))


@cache
def _rank(module: Path) -> tuple[list[bool], int, str]:
    """Folders in their order, long modules before short ones."""
    name = module.relative_to(ROOT).as_posix()
    return [not name.startswith(folder) for folder in FIRST], -module.stat().st_size, name


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):
        session.config.stash[BEFORE] = checkout.snapshot(ROOT)


def pytest_sessionfinish(session: pytest.Session) -> None:
    before = session.config.stash.get(BEFORE, None)
    found = [] if before is None else checkout.changes(before, checkout.snapshot(ROOT))
    session.config.stash[CHANGES] = found
    if found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if found := config.stash.get(CHANGES, []):
        terminalreporter.section("the checkout changed while the tests ran; they must leave it alone", red=True)
        terminalreporter.write_line("\n".join(found))


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The template's settings, as `func start` would give them; one that is missing or wrong fails every test.

    What they would keep in .airloop is kept in a folder of the run.
    """
    values: dict[str, str] = json.loads(TEMPLATE.read_text("utf-8"))["Values"]
    from_env(values, scenario_files.names())
    folder = str(tmp_path_factory.mktemp("airloop"))
    values = {name: value.replace(".airloop", folder) for name, value in values.items()}
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
