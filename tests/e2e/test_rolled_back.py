"""A model is installed and rolled back over HTTP while two hosts forecast; with the settings as they are delivered."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from local.books import recount as books
from local.demo import sabotage
from local.send import sources
from local.send.faults import Faults
from local.send.plan import Plan
from local.send.record import Record
from local.send.stream import Pace, stream
from local.send.wire import Sender
from local.stack import scenario
from local.stack.addresses import ANY_PORTS
from local.stack.programs import PROJECT
from local.stack.running import get, post
from local.stack.scenario import TEMPLATE
from local.stack.stack import Stack
from local.stack.workspace import DEVICES, READINGS, Workspace
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.core.stream.commit import Commit
from shared.wiring import CONTAINERS
from tests.kit.tiny_model import package_of

pytestmark = [pytest.mark.emulator, pytest.mark.slow]
PACE = ("--balance-seconds", "0.5")
TIMERS = ("compact_lake", "check_drift", "advance_rollout", "watch_jobs")  # we alone change models here
OFF = {f"AzureWebJobs.{name}.Disabled": "true" for name in TIMERS}
HOSTS = ("host", "second")
FAULTS = Faults(resend=0.02, conflict=0.01, reorder=0.1, late=0.02, garbage=0.01)
RATE, STATIONS, HOURS, MORE = 40.0, 12, 1000, 80
SHIFT = 7.0  # what the second model says more than the first
PARTITIONS = 4  # of each hub
LIMIT_S = 60.0  # within which all workers follow
Row = tuple[str, str, bool, float]  # role, version, served, value


def until(holds: Callable[[], bool], what: str, deadline_s: float = LIMIT_S) -> float:
    """Wait; seconds that it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < deadline_s, f"{what} did not happen within {deadline_s} s"
        time.sleep(0.05)
    return time.monotonic() - begun


class Load(threading.Thread):
    """Devices that send steadily until told to stop."""

    def __init__(self, space: Workspace, connection: str) -> None:
        super().__init__()
        self.ending, self.sent = threading.Event(), 0
        self._plan = Plan(sources.fleet(STATIONS, HOURS, seed=3), FAULTS, 3, space.scenario)
        self._connection = connection

    def run(self) -> None:
        with Sender(self._connection, DEVICES) as sender:
            stream(self._plan, sender, pace=Pace(rate=RATE), on_progress=self._note, stop=self.ending)

    def _note(self, record: Record) -> None:
        self.sent = record.sent

    def go_on(self) -> None:
        """Wait while devices send some more messages."""
        wanted = self.sent + MORE
        until(lambda: self.sent >= wanted, f"sending {wanted} messages")


@dataclass
class Made:
    """A commit with forecasts, and when it was stored, within a second.

    Args:
        at_s: Unix time.
        commit: The commit.
        rows: Its forecasts by device, as-of hour and revision.
    """

    at_s: float
    commit: Commit
    rows: dict[tuple[str, int, int], list[Row]]


@dataclass
class Site:
    """Two hosts under load."""

    stack: Stack
    space: Workspace
    versions: tuple[str, str]

    def served(self) -> list[str | None]:
        """The champion as each host tells it."""
        return [get(f"{self.stack.host_url(name)}/api/health")["champion"] for name in HOSTS]

    def status(self, name: str, query: str = "") -> dict[str, dict[str, Any]]:
        """What a host tells of each function."""
        found = get(f"{self.stack.host_url(name)}/admin/host/status{query}")
        return {each["name"]: each for each in found["functions"]}

    def shared(self) -> bool:
        """Whether each host has half of the partitions and has forecast."""
        told = [self.status(name)[function] for name in HOSTS for function in ("route_events", "score_readings")]
        return all(owned(each) == PARTITIONS // 2 and each["invocations"] > 2 for each in told)

    def failures(self) -> dict[tuple[str, str], int]:
        """Failed invocations by host and function."""
        return {(host, name): each["failures"] for host in HOSTS for name, each in self.status(host).items()}

    def at_rest(self) -> bool:
        """Whether all that was sent has been worked on."""
        return not any(
            each["running"] or any(partition.get("lag") for partition in each.get("partitions", {}).values())
            for name in HOSTS
            for each in self.status(name, "?lag=true").values()
        )

    def ask(self, action: str, **params: str) -> tuple[float, float]:
        """Ask for a step; when that was (Unix time), and seconds until both hosts serve who is champion then."""
        asked, begun = time.time(), time.monotonic()
        current = post(f"{self.stack.host_url()}/api/rollout/{action}", **params)
        until(lambda: self.served() == [current["champion"]] * 2, f"{action}: {current}")
        return asked, time.monotonic() - begun

    def commits(self) -> Iterator[Made]:
        for name in self.space.blobs.names("commits"):
            commit, _ = self.space.files.decode_commit(self.space.blobs.read("commits", name) or b"")
            info = self.space.blobs.info("commits", name)
            assert info is not None
            if commit.predictions is not None:
                raw = self.space.blobs.read("predictions", commit.predictions) or b""
                yield Made(info.modified_ms / 1000, commit, rows_of(self.space.files.read_predictions(raw)))

    def books(self) -> books.Books:
        return books.recount(self.space.blobs, self.space.files, self.space.logs, READINGS, DEVICES)


def owned(function: Mapping[str, Any]) -> int:
    """Partitions that a host's function reads now."""
    return sum(partition["owned"] for partition in function["partitions"].values())


def rows_of(found: Mapping[str, Any]) -> dict[tuple[str, int, int], list[Row]]:
    rows: dict[tuple[str, int, int], list[Row]] = {}
    for place, device in enumerate(found["device_id"]):
        key = device, int(found["as_of"][place]), int(found["revision"][place])
        said = (found[name][place] for name in ("role", "model_version", "served", "value"))
        rows.setdefault(key, []).append(tuple(said))
    return rows


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Stack(tmp_path / "stack", app_dir=PROJECT, template=TEMPLATE, settings=OFF, containers=CONTAINERS,
               ports=ANY_PORTS, host_options=PACE) as stack:  # fmt: skip
        space = Workspace.connect(stack.root, stack.storage, stack.host_url(), scenario.chosen())
        first = space.release().publish(package_of())
        second = space.release().publish(sabotage.shifted(package_of(), "second", SHIFT))
        space.release().deploy(first)
        stack.start_host("second")
        yield Site(stack, space, (first, second))


def check_rows(made: list[Made], versions: tuple[str, str]) -> None:
    """Every row says the version that its commit names, its number is that model's, and one row of each is served."""
    first, second = versions
    served: Counter[tuple[str, int, int]] = Counter()
    for each in made:
        named = {"champion": each.commit.champion, "challenger": each.commit.challenger}
        for key, rows in each.rows.items():
            assert {role: version for role, version, _, _ in rows}.items() <= named.items()
            served[key] += sum(is_served for _, _, is_served, _ in rows)
            values = {version: value for _, version, _, value in rows}
            if len(rows) > 1:
                assert values[second] == pytest.approx(min(values[first] + np.float32(SHIFT), 1000), abs=1e-3)
    assert set(served.values()) == {1}


def switched(made: list[Made], champion: str, asked_s: float, ended_s: float) -> float:
    """Seconds from a request to the last forecast by another champion; none is by the new one before."""
    mine = [each for each in made if each.at_s >= asked_s and each.at_s < ended_s]
    assert any(each.commit.champion == champion for each in mine)
    return max([each.at_s - asked_s for each in mine if each.commit.champion != champion], default=0.0)


def test_both_hosts_follow_an_installation_and_its_rollback_under_load(site: Site) -> None:
    first, second = site.versions
    load = Load(site.space, site.stack.eventhub)
    load.start()
    try:
        until(site.shared, "sharing the partitions")
        until(lambda: site.served() == [first] * 2, "serving the first model")
        until(lambda: any(each.at_s < time.time() - 2 for each in site.commits()), "forecasting by the first model")
        before = site.failures()
        installed, told = site.ask("install", version=second, id="1")
        load.go_on()
        back, told_back = site.ask("roll_back", id="2")
        load.go_on()
    finally:
        load.ending.set()
        load.join()
    until(site.at_rest, "working on all that was sent")
    until(lambda: site.books().balance, "the books' balance")
    made = list(site.commits())
    check_rows(made, site.versions)
    assert {each.commit.champion for each in made if each.at_s < installed - 1} == {first}
    took = switched(made, second, installed, back), switched(made, first, back, float("inf"))
    told_of = f"both hosts tell the new champion {told:.1f} and {told_back:.1f} s after the request"
    last = f"the last forecast by another came {took[0]:.1f} and {took[1]:.1f} s after it"
    sys.stdout.write(f"{load.sent:,} messages; {told_of}, {last}\n")  # shown by -rP
    assert max(told, told_back, *took) < LIMIT_S
    assert site.failures() == before  # while a partition changes hands two hosts may meet; after that nobody may fail
    entries = Ledger(site.space.scenario.name, site.space.blobs, WallClock()).entries()
    steps = [entry.data for entry in entries if entry.kind == "rollout"]
    assert [(step["step"], step["champion"]) for step in steps] == [("installed", second), ("rolled_back", first)]
