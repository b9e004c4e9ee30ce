"""A scenario file with every key, an edit of each, and the application before and after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from shared.adapters.lake.commit_files import ParquetFiles
from shared.adapters.lake.delta_lake import DeltaLake
from shared.app.lake.compaction import Compaction
from shared.core.forecast.task import HourlyForecast
from shared.core.intake.readings import Floats
from shared.core.model.feature import Feature
from shared.core.model.manifest import Manifest, decode_manifest, encode_manifest
from shared.core.model.scoring import unfitting
from shared.core.scenario import Scenario, parse
from shared.core.task.task import Task
from shared.errors import ContractBroken
from shared.ports import LoadModel
from tests.kit.application import EAGER, assemble
from tests.kit.faults import Faulty
from tests.kit.model import publish
from tests.kit.scenario import HOUR, message
from tests.kit.whole import Whole

Raw = dict[str, Any]
Effect = Literal["none", "taken over", "needs a migration", "needs another store", "one value"]
DEVICES = "abgh"
UNTIL, END = 11, 19  # hours before the edit and after it
BEFORE: Raw = {
    "name": "small", "title": "small", "task": "regression", "key": "device_id", "target": "pm",
    "featurizer": "hourly", "cadence_s": 3600, "resolution_s": 60, "samples_per_hour": 1, "history": 9,
    "horizon": 3, "lateness": 3, "interval": 0.9, "zone": "UTC", "time_fallback": True,
    "trusted_gateways": [], "unlisted_stations": "accept", "maximum_devices": 10_000, "silent_days": 30,
    "names": {"device": ["device_id"], "time": ["timestamp"], "row": ["ID"], "ignored": []},
    "channels": [
        {"name": "pm", "unit": "ug/m3", "minimum": 0, "maximum": 1000, "aliases": [], "units": {}},
        {"name": "rain", "unit": "mm", "minimum": 0, "maximum": 300, "aggregate": "sum"},
        {"name": "wind", "unit": "deg", "minimum": 0, "maximum": 360, "aggregate": "circular"},
        {"name": "temp", "unit": "degC", "minimum": -60, "maximum": 60, "role": "temperature"},
    ],
    "categories": [{"name": "low", "upper": 20}, {"name": "high", "upper": 1000}],
    "stations": {device: {"zone": "UTC", "latitude": 1.0, "longitude": 2.0} for device in DEVICES},
    "layouts": [{"name": "log", "files": ["log_*"]}],
    "cold_start": {"hours": 0}, "quality": {}, "search": {}, "gate": {}, "drift": {}, "retrain": {}, "rollout": {},
}  # fmt: skip


def keys(kind: Any = Scenario, prefix: str = "") -> Iterator[str]:
    """Every key that a scenario file may have; those of a list or of named tables once."""
    for name, hint in get_type_hints(kind).items():
        if name.startswith("_"):
            continue
        inner = [each for each in (hint, *get_args(hint)) if dataclasses.is_dataclass(each)]
        if inner:
            yield from keys(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"
    assert get_origin(kind) is None


def edit(key: str, value: Any) -> Callable[[Raw], None]:
    """Set a key; that of a list's first item, of a station, or of the channel pm."""

    def make(raw: Raw) -> None:
        *path, last = key.split(".")
        place: Any = raw
        for step in path:
            place = place[step]
            place = place[0] if isinstance(place, list) else place["a"] if step == "stations" else place
        place[last] = value

    return make


def wider(raw: Raw) -> None:
    raw["channels"][0]["maximum"] = raw["categories"][-1]["upper"] = 4000


RULES: Mapping[str, Mapping[str, Any]] = {
    "cold_start": {"hours": 1, "answer": False, "bounds": 2.0},  # with an hour any device has enough
    "quality": {"maximum_dropped_share": 0.2},
    "search": {"trials": 5, "folds": 2, "max_trees": 50, "seed": 8},
    "gate": {
        "minimum_improvement": 0.02, "confidence": 0.9, "minimum_rows": 400,
        "minimum_days": 10, "minimum_blocks": 6, "worst_group_ratio": 1.2, "minimum_group_rows": 100,
        "coverage_tolerance": 0.06, "coverage_days": 20, "maximum_parity": 0.01, "maximum_mb": 40.0,
        "maximum_latency_ms": 40.0, "suspicious_ratio": 0.2, "suspicious_correlation": 0.99,
        "resamples": 1000, "seed": 8,
    },
    "drift": {"window_days": 14, "minimum_rows": 200, "false_alarm_rate": 0.1},
    "retrain": {
        "cooldown_h": 12.0, "maximum_runs_per_month": 5, "maximum_cost_per_month": 10.0, "cost_per_run": 1.0,
        "minimum_first_rows": 100, "minimum_new_rows": 100, "schedule_days": 60, "backoff_h": 24.0,
        "backoff_factor": 3.0, "maximum_backoff_h": 1000.0, "challenger_wait_days": 10, "timeout_h": 6.0,
    },
    "rollout": {
        "ladder": [0.0, 0.5, 1.0], "minimum_labels": 400, "block_days": 1, "minimum_blocks": 4,
        "error_rate": 0.1, "tolerance": 0.1, "maximum_days": 100, "guard_days": 20, "emergency_ratio": 2.0,
        "maximum_unanswered": 0.1, "maximum_latency_ms": 40.0, "maximum_forecast_shift": 2.0,
        "approval": True,
    },
}  # fmt: skip

LAYOUT: Mapping[str, Any] = {
    "name": "other", "files": ["*"], "header": ["when"], "preamble": 3, "below": 2, "comment": "#",
    "columns": ["when", "what"], "delimiter": ";", "quote": "'", "decimal": ",", "encoding": "windows-1252",
    "time": ["date", "time"],
    "time_parts": ["year", "month", "day"], "date_order": "dmy", "time_numbers": "excel", "hour": "ending",
    "zone": "Asia/Tokyo", "device": ["state", "site"], "unit": "unit", "parameters": {"88101": "pm"},
    "stations": "pm", "channels": {"field1": "pm"}, "units": {"pm": "ug/m3"}, "missing_values": [-999],
}  # fmt: skip

EDITS: Mapping[str, tuple[Callable[[Raw], None], Effect]] = {
    "name": (edit("name", "other"), "needs another store"),
    "title": (edit("title", "PM"), "none"),
    "task": (edit("task", "classification"), "one value"),
    "key": (edit("key", "device"), "none"),
    "target": (lambda raw: raw.update(target="rain", categories=[]), "needs a migration"),
    "featurizer": (edit("featurizer", "daily"), "one value"),
    "search.candidates": (edit("search.candidates", ["other"]), "one value"),
    "channels.name": (lambda raw: raw["channels"][1].update(name="rainfall"), "needs a migration"),
    "channels.unit": (edit("channels.unit", "mg/m3"), "needs another store"),
    "channels.minimum": (edit("channels.minimum", -10), "taken over"),
    "channels.maximum": (wider, "taken over"),
    "channels.role": (edit("channels.role", "pressure"), "needs a migration"),
    "channels.aggregate": (edit("channels.aggregate", "sum"), "needs a migration"),
    "channels.aliases": (edit("channels.aliases", ["dust"]), "none"),
    "channels.missing_values": (edit("channels.missing_values", [-999, "offline"]), "none"),
    "channels.units.factor": (edit("channels.units", {"mg/m3": {"factor": 1000.0}}), "none"),
    "channels.units.offset": (edit("channels.units", {"x": {"factor": 2.0, "offset": 1.0}}), "none"),
    "channels.units.detect": (edit("channels.units", {"x": {"factor": 2.0, "detect": [2000, 3000]}}), "none"),
    "cadence_s": (edit("cadence_s", 1800), "needs another store"),
    "resolution_s": (edit("resolution_s", 10), "taken over"),
    "samples_per_hour": (edit("samples_per_hour", 2), "needs a migration"),
    "history": (edit("history", 10), "needs a migration"),
    "horizon": (edit("horizon", 4), "needs a migration"),
    "lateness": (edit("lateness", 2), "needs a migration"),
    "interval": (edit("interval", 0.8), "none"),
    "loss": (edit("loss", "squared"), "none"),
    "time_fallback": (edit("time_fallback", False), "none"),
    "trusted_gateways": (edit("trusted_gateways", ["gw-*"]), "none"),
    "zone": (edit("zone", "Africa/Kampala"), "none"),
    "unlisted_stations": (edit("unlisted_stations", "reject"), "none"),
    "maximum_devices": (edit("maximum_devices", 9_000), "none"),
    "silent_days": (edit("silent_days", 29), "none"),
    "names.device": (edit("names.device", ["device_id", "site"]), "none"),
    "names.time": (edit("names.time", ["timestamp", "at"]), "none"),
    "names.row": (edit("names.row", ["row"]), "none"),
    "names.placeholders": (edit("names.placeholders", ["sample"]), "none"),
    "names.ignored": (edit("names.ignored", ["battery"]), "none"),
    "categories.name": (edit("categories.name", "fine"), "none"),
    "categories.upper": (edit("categories.upper", 30), "none"),
    "stations.zone": (edit("stations.zone", "Asia/Tokyo"), "none"),
    "stations.latitude": (edit("stations.latitude", 3.0), "none"),
    "stations.longitude": (edit("stations.longitude", 3.0), "none"),
    **{f"layouts.{name}": (edit(f"layouts.{name}", value), "none") for name, value in LAYOUT.items()},
    "layouts.parameter": (lambda raw: raw["layouts"][0].update(parameter="what", value="x"), "none"),
    "layouts.value": (lambda raw: raw["layouts"][0].update(parameter="what", value="x"), "none"),
    **{
        f"{table}.{name}": (edit(f"{table}.{name}", value), "none")
        for table, values in RULES.items()
        for name, value in values.items()
    },
}  # fmt: skip


def add_a_channel(raw: Raw) -> None:
    """A channel at the end, whose values come from now on."""
    raw["channels"].append({"name": "noise", "unit": "dB", "minimum": 0, "maximum": 200})


def changed(*edits: Callable[[Raw], None]) -> Scenario:
    """The scenario with some edits."""
    raw = deepcopy(BEFORE)
    for make in edits:
        make(raw)
    return parse(raw)


@dataclasses.dataclass(frozen=True)
class ByName:
    """A model that finds its features by name, as packages do."""

    manifest: Manifest
    places: tuple[int, ...]

    def predict(self, matrix: Floats) -> Floats:
        """A weighed sum of its features, missing ones counted as 3."""
        found = np.nan_to_num(matrix[:, self.places].astype(np.float64), nan=3.0)
        weighed = np.rint(found * 4) % 17 @ (np.arange(len(self.places)) % 11 + 1.0)
        return np.asarray(weighed % 500, np.float32)


def loading(task: Task) -> LoadModel:
    """Loads models on a task's features."""

    def load(files: Mapping[str, bytes]) -> ByName:
        manifest = decode_manifest(files["manifest.json"])
        if wrong := unfitting(task.features, manifest.features):
            raise ContractBroken("; ".join(wrong))
        places = {feature.name: place for place, feature in enumerate(task.features)}
        return ByName(manifest, tuple(places[name] for name, _ in manifest.features))

    return load


class Edited(Whole):
    """The application in memory on the real features, whose scenario may be edited."""

    def __init__(self, folder: Path, scenario: Scenario | None = None) -> None:
        super().__init__(folder / "hubs", Faulty(), scenario or changed())
        self.lake_folder = folder / "lake"
        publish(self.blobs, "v1")
        self.train("v1", HourlyForecast(self.scenario).features)

    def train(self, version: str, features: tuple[Feature, ...], **more: Any) -> None:
        """Say what a published model needs."""
        place = f"{version}/manifest.json"
        manifest = decode_manifest(self.blobs.read("models", place) or b"")
        needs = [(feature.name, feature.version) for feature in features]
        self.blobs.write("models", place, encode_manifest(msgspec.structs.replace(manifest, features=needs, **more)))

    def restart(self, scenario: Scenario | None = None) -> None:
        """New workers that remember nothing, perhaps with another scenario."""
        task = HourlyForecast(scenario or self.scenario)
        application = assemble(
            EAGER, self.blobs, self.readings, self.clock, self.devices, task=task, load=loading(task)
        )
        application.ports  # noqa: B018 - the scenario is looked at before anything is done
        self.scenario, self.application = task.scenario, application
        self.files = ParquetFiles(application.ports.task)
        for number in range(2):
            application.score(number, [])
            application.route_events(number, [])
        self.partitions = list(application.score.held.values())
        self.routers = list(application.route_events.held.values())

    def go_on(self, first: int, end: int) -> None:
        """Hours pass: every device speaks once an hour, sometimes late, sometimes again."""
        for hour in range(first, end):
            more = {"temp": 10.0 + hour, "noise": 40.0 + hour}
            bodies = [message(device, hour, (hour * 7) % 50 + 1.5, rain=0.5, wind=45.0, **more) for device in DEVICES]
            if hour % 5 == 3:
                late = (HOUR + hour - 1) * 3600 + 120
                bodies += [message("a", pm=8.25, rain=0.5, wind=90.0, timestamp=late), bodies[0]]
            self.hear(*bodies)
            self.score()

    def lake(self) -> DeltaLake:
        """Its lake, with everything committed so far."""
        task = self.application.ports.task
        made = DeltaLake(task, str(self.lake_folder), group_rows=50)
        Compaction(task=task, blobs=self.blobs, lake=made, clock=self.clock, chunk_commits=8).run()
        return made
