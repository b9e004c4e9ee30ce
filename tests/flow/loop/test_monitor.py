"""The drift check as a use case: report, ledger, quarantine and signals, exactly once and in the right order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import pytest

from shared.app.ledger_store import Ledger
from shared.app.loop.monitor import Monitor
from shared.app.loop.retraining import Retraining
from shared.app.loop.stored_packages import StoredPackages
from shared.app.release.control import ControlDocument
from shared.core.forecast.losses import ERRORS
from shared.core.model.deployment import Deployment
from shared.core.model.feature import Feature
from shared.core.model.manifest import Damped, Interval, Manifest, encode_arrays, encode_manifest
from shared.core.profile.merged import MergedProfile
from shared.errors import ContractBroken
from tests.kit import TASK as SMALL
from tests.kit import HandClock, MemoryBlobs, MemoryJobs, MemoryStream, assemble, load
from tests.kit.application import EAGER
from tests.kit.data.drift_baseline import NOW, SCENARIO, WATCHED, baseline, spoilt, table
from tests.unit.core.drift.test_drift import merged

FOUR = ("a", "b", "c", "d")
HOUR_MS = 3_600_000


def never(_: Mapping[str, bytes]) -> object:
    raise AssertionError("a check loads no model")


@dataclass
class Watched:
    """A champion whose training left a baseline, and the stores around it."""

    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    clock: HandClock = field(default_factory=HandClock)
    dataset: tuple[int, int] | None = (7, 20_500)

    def __post_init__(self) -> None:
        manifest = Manifest(
            version="v1", scenario=SCENARIO.name, created="", run_id="", dataset="", code_version="",
            training_start="", training_end="", rows=18_000, features=[], interval=Interval(0.9, [], [-1.0], [1.0]),
            damped=Damped(0.0, 1.0, 0.0), metrics={}, sha256={}, size_bytes=0, latency_ms=0.0, trained_until=NOW - 500,
        )  # fmt: skip
        self.blobs.write("models", "v1/manifest.json", encode_manifest(manifest))
        self.blobs.write("models", "v1/baseline.npz", encode_arrays(baseline(*FOUR).arrays()))
        self.control.change(lambda _: Deployment(champion="v1"))
        self.clock.ms = NOW * HOUR_MS

    @property
    def control(self) -> ControlDocument:
        return ControlDocument(self.blobs)

    @property
    def ledger(self) -> Ledger:
        return Ledger(SCENARIO.name, self.blobs, self.clock)

    def monitor(self) -> Monitor:
        packages = StoredPackages(self.blobs, never, (Feature("x", 1),))  # type: ignore[arg-type]
        return Monitor(
            SCENARIO, self.blobs, packages, self.ledger, self.control, lambda: self.dataset,
            lambda: self.clock.ms // HOUR_MS,
        )  # fmt: skip

    def kinds(self) -> list[tuple[str, str]]:
        return [(entry.kind, entry.key) for entry in self.ledger.entries() if entry.kind != "closed"]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def ordinary(**cells: float) -> MergedProfile:
    """A healthy fleet; with cells, device b's temperature is spoilt."""
    healthy = table(*FOUR)
    return merged(spoilt(healthy, 1, "temp", **cells) if cells else healthy, rows=2000)


def test_an_ordinary_check_leaves_a_report_an_entry_and_signals(watched: Watched) -> None:
    found, signals = watched.monitor().check(ordinary())
    assert found is not None
    assert found.kind == "none"
    key = watched.monitor().key(ordinary(), "v1")
    assert key == "2024-10-04T00-v1-1004"
    assert watched.kinds() == [("check", key)]
    told = msgspec.json.decode(watched.blobs.read("reports", f"drift/{key}/verdict.json") or b"")
    assert told["kind"] == "none"
    assert b"<svg" in (watched.blobs.read("reports", f"drift/{key}/report.html") or b"")
    assert (signals.dataset, signals.labelled_rows, signals.champion) == ("lake@7", 18_000, "v1")
    assert (signals.drift, signals.quality) == ("none", "not enough data")
    assert (signals.trained_rows, signals.trained_ms) == (18_000, (NOW - 500) * HOUR_MS)


def test_what_cannot_be_judged_is_said_in_status_ledger_and_report(watched: Watched) -> None:
    edges = WATCHED.edges.copy()
    edges[[name for name, _ in WATCHED.names].index("pm25.latest")] *= 2
    watched.monitor().check(replace(ordinary(), edges=edges))
    says = "pm25.latest: bins differ: baseline 0..1000, scenario 0..2000"
    (entry,) = (entry for entry in watched.ledger.entries() if entry.kind == "check")
    assert f"not judged: {says}" in entry.data["reasons"]
    app = assemble(EAGER, watched.blobs, MemoryStream(2), HandClock(), task=SMALL, load=load)
    told = app.health()[1]["drift"]
    assert (told["check"], told["kind"]) == (entry.key, "none")
    assert says in told["not_judged"]
    assert "quality: 0 forecasts with known truth in the window, minimum 300" in told["not_judged"]
    page = (watched.blobs.read("reports", f"{entry.data['report']}/report.html") or b"").decode()
    assert f"<li>{says}</li>" in page


def test_a_redelivered_timer_writes_nothing_twice(watched: Watched) -> None:
    for _ in range(3):
        watched.monitor().check(ordinary(run=400))
    assert [kind for kind, _ in watched.kinds()] == ["quarantine", "check"]


def test_a_later_day_is_another_check_also_when_no_reading_came(watched: Watched) -> None:
    watched.monitor().check(ordinary())
    watched.clock.ms += 30 * HOUR_MS
    found, _ = watched.monitor().check(ordinary())
    assert found is not None
    assert found.kind == "pipeline"
    assert [kind for kind, _ in watched.kinds()] == ["check", "check"]


def test_labels_are_forecasts_whose_truth_is_known_after_the_training(watched: Watched) -> None:
    row = np.zeros(len(ERRORS), np.int64)
    row[0] = 50
    trained = (NOW - 500) // 24
    keys = [(trained, "champion", "v0"), (trained + 1, "champion", "v1"), (trained + 2, "challenger", "v2")]
    found = replace(ordinary(), errors=dict.fromkeys(keys, row))
    assert watched.monitor().signals(found).labelled_rows == 18_000 + 50


def test_a_stuck_device_is_isolated_and_let_out_once_healthy(watched: Watched) -> None:
    found, signals = watched.monitor().check(ordinary(run=400))
    assert found is not None
    assert (found.kind, signals.drift) == ("device", "device")
    assert watched.control.read().quarantine == ["b"]
    (entry,) = (entry for entry in watched.ledger.entries() if entry.kind == "quarantine")
    assert (entry.data["device"], entry.data["fault"], entry.data["channel"]) == ("b", "stuck", "temp")
    watched.clock.ms += 24 * HOUR_MS
    later = ordinary()
    later.devices.head[:] = later.devices.head + 24
    watched.monitor().check(replace(later, newest_hour=NOW + 24))
    assert watched.control.read().quarantine == []
    assert [kind for kind, _ in watched.kinds()] == ["quarantine", "check", "release", "check"]


def test_what_a_person_put_into_quarantine_stays_until_it_is_healthy(watched: Watched) -> None:
    watched.control.change(lambda now: msgspec.structs.replace(now, quarantine=["elsewhere"]))
    watched.monitor().check(ordinary())
    assert watched.control.read().quarantine == ["elsewhere"]


def test_a_population_drift_is_told_and_isolates_nobody(watched: Watched) -> None:
    found, signals = watched.monitor().check(merged(table(*FOUR), {"temp.latest": 60}, 2000))
    assert found is not None
    assert (found.kind, signals.drift) == ("population", "population")
    assert signals.magnitude == found.magnitude
    assert watched.control.read().quarantine == []


def test_a_pipeline_that_is_silent_isolates_nobody(watched: Watched) -> None:
    watched.clock.ms += 30 * HOUR_MS
    found, _ = watched.monitor().check(ordinary(run=400))
    assert found is not None
    assert found.kind == "pipeline"
    assert watched.control.read().quarantine == []


def test_a_dry_look_writes_nothing(watched: Watched) -> None:
    signals = watched.monitor().signals(ordinary(run=400))
    assert signals.drift == "device"
    assert watched.kinds() == []
    assert watched.control.read().quarantine == []


def test_before_the_first_champion_only_signals_are_given(watched: Watched) -> None:
    watched.control.change(lambda _: Deployment())
    watched.dataset = None
    found, signals = watched.monitor().check(ordinary())
    assert found is None
    assert (signals.dataset, signals.labelled_rows, signals.drift) == (None, 0, "not enough data")
    newest = msgspec.json.decode(watched.blobs.read("reports", "drift/newest.json") or b"")
    assert newest["reasons"] == ["no model serves yet"]


@pytest.mark.parametrize("raw", [None, b"PK"], ids=["gone", "damaged"])
@pytest.mark.parametrize("name", ["baseline.npz", "manifest.json"])
def test_a_damaged_champion_is_told_and_a_job_can_be_decided_all_the_same(
    watched: Watched, caplog: pytest.LogCaptureFixture, name: str, raw: bytes | None
) -> None:
    watched.control.change(lambda now: msgspec.structs.replace(now, quarantine=["b"]))
    watched.blobs.delete("models", f"v1/{name}")
    if raw is not None:
        watched.blobs.write("models", f"v1/{name}", raw)
    found, signals = watched.monitor().check(ordinary(run=400))
    assert found is None
    (entry,) = (entry for entry in watched.ledger.entries() if entry.kind == "check")
    (reason,) = entry.data["reasons"]
    assert (entry.data["kind"], entry.data["model"], entry.data["quarantine"]) == ("not enough data", "v1", ["b"])
    assert reason.startswith("champion v1 cannot be watched: ")
    assert name in reason
    assert reason in caplog.text
    newest = msgspec.json.decode(watched.blobs.read("reports", "drift/newest.json") or b"")
    assert (newest["kind"], newest["not_judged"]) == ("not enough data", [reason])
    page = (watched.blobs.read("reports", f"{entry.data['report']}/report.html") or b"").decode()
    assert "What could not be judged" in page
    assert "champion v1 cannot be watched: " in page
    assert watched.monitor().signals(ordinary(run=400)) == signals
    assert (signals.drift, signals.quality, signals.notes) == ("not enough data", "not enough data", (reason,))
    retraining = Retraining(SCENARIO, watched.ledger, MemoryJobs(), watched.clock)
    due = retraining.consider(msgspec.structs.replace(signals, check="later"), dry_run=True).decision
    assert [text.split(" ")[1:2] for text in due.reasons if text.startswith("schedule")] == [
        ["trained"] if name == "baseline.npz" else ["not"]
    ]
    assert retraining.consider(signals, "ann", "the champion is damaged").job is not None


def test_a_damaged_control_document_is_no_matter_of_the_champion(watched: Watched) -> None:
    watched.blobs.write("models", "deployment.json", b"{")
    with pytest.raises(ContractBroken):
        watched.monitor().check(ordinary())
    assert watched.kinds() == []


def test_a_device_that_was_let_out_lately_is_still_suspected(watched: Watched) -> None:
    watched.ledger.append("release", "k/b", {"device": "b"})
    assert watched.monitor()._lately_released() == {"b"}
    watched.clock.ms += 15 * 24 * HOUR_MS
    assert watched.monitor()._lately_released() == set()
