"""The drift check: what the profiles say of the champion, as a report, and faulty devices isolated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from shared.app.health import NEWEST
from shared.app.ledger_store import Ledger
from shared.app.loop.stored_packages import StoredPackages
from shared.app.release.control import ControlDocument
from shared.app.reports.drift import drift_report
from shared.core.drift import check as drift
from shared.core.drift.baseline import Baseline
from shared.core.drift.verdict import Verdict
from shared.core.model import deployment
from shared.core.model import manifest as package
from shared.core.model.deployment import Deployment
from shared.core.model.manifest import Manifest
from shared.core.model.scoring import CHAMPION, ROLES
from shared.core.profile.merged import MergedProfile
from shared.core.retrain.signals import Signals
from shared.core.scenario import Scenario
from shared.core.task.calendar import DAY_HOURS, HOUR_MS
from shared.errors import ContractBroken
from shared.ports import Blobs

log = logging.getLogger(__name__)
CHECK, QUARANTINE, RELEASE = "check", "quarantine", "release"
REPORTS = "reports"
NONE_YET = "none"
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
Dataset = Callable[[], "tuple[int, int] | None"]


@dataclass(frozen=True, slots=True)
class _Inspection:
    """What a look at the champion gave: a verdict and what it rests on, or why there is none."""

    manifest: Manifest | None = None
    judged: tuple[Verdict, Baseline] | None = None
    damage: tuple[str, ...] = ()

    @property
    def found(self) -> Verdict | None:
        return self.judged[0] if self.judged else None


@dataclass(frozen=True, slots=True)
class Monitor:
    """Checks of one scenario.

    Args:
        scenario: Its rules.
        blobs: Where reports go.
        packages: The models' packages, with what their training left for the check.
        ledger: Where every check is written.
        control: Holds the quarantine.
        dataset: Version of the lake's readings and how many there are, None without a lake; they stand for labels
            before the first champion.
        now_hour: The clock, hours since 1970.
    """

    scenario: Scenario
    blobs: Blobs
    packages: StoredPackages
    ledger: Ledger
    control: ControlDocument
    dataset: Dataset
    now_hour: Callable[[], int]

    def check(self, merged: MergedProfile) -> tuple[Verdict | None, Signals]:
        """Check, isolate and release devices, write report and ledger entry; the same profiles give the same entry.

        Returns:
            What was found, and the signals for the decision whether to train. None was found before the first champion,
            nor where its package is damaged: its verdict is "not enough data", and the decision rests on the rest.

        Raises:
            ContractBroken: The control document or the ledger is damaged.
        """
        champion = self.control.read().champion
        key = self.key(merged, champion)
        if champion is None:
            self._tell(key, {"model": None, "kind": "not enough data", "reasons": ["no model serves yet"]})
            return None, self.signals(merged)
        look = self._inspect(merged, champion)
        told = {"model": champion, **self._act(key, look, merged)}
        self.ledger.append(CHECK, key, told)
        self._tell(key, {**told, "not_judged": look.found.not_judged if look.found else look.damage})
        return look.found, self._signals(key, champion, look, merged)

    def signals(self, merged: MergedProfile) -> Signals:
        """What a decision about training rests on now, without a check being written."""
        champion = self.control.read().champion
        look = _Inspection() if champion is None else self._inspect(merged, champion)
        return self._signals(self.key(merged, champion), champion, look, merged)

    def key(self, merged: MergedProfile, champion: str | None) -> str:
        """Identity of a check: the newest hour of the data, the model and the day; a redelivered timer has the same."""
        newest = f"{_EPOCH + timedelta(hours=merged.newest_hour):%Y-%m-%dT%H}" if merged.newest_hour >= 0 else NONE_YET
        return f"{newest}-{champion or NONE_YET}-{_EPOCH + timedelta(hours=self.now_hour()):%m%d}"

    def _inspect(self, merged: MergedProfile, champion: str) -> _Inspection:
        suspects, manifest = {*self.control.read().quarantine, *self._lately_released()}, None
        try:
            manifest = self.packages.manifest(champion)
            baseline = Baseline.from_arrays(self._arrays(champion))
            found = drift.check(self.scenario.drift, baseline, merged, self.now_hour(), champion, suspects)
        except ContractBroken as error:
            damage = f"champion {champion} cannot be watched: {error}"
            log.exception("nothing is judged: %s", damage)
            return _Inspection(manifest, damage=(damage,))
        return _Inspection(manifest, (found, baseline))

    def _act(self, key: str, look: _Inspection, merged: MergedProfile) -> dict[str, Any]:
        """Write the report and isolate devices; returns the data of the ledger entry."""
        if look.judged is None:
            held = self.control.read().quarantine
            nothing = dict.fromkeys(("magnitude", "rows", "outside"))
            unable = drift.unable(self.scenario.drift, self.control.read().champion or "", "; ".join(look.damage))
            report = self._report(key, unable, None, merged)
            return {"kind": unable.kind, "reasons": look.damage, "quarantine": held, "report": report, **nothing}
        found, baseline = look.judged
        return {
            "kind": found.kind,
            "reasons": found.reasons,
            "magnitude": found.magnitude,
            "rows": found.rows,
            "report": self._report(key, found, baseline, merged),
            "quarantine": self._isolate(key, found).quarantine,
            "outside": found.quality.outside,
        }

    def _lately_released(self) -> set[str]:
        """Devices whose faulty days may still lie in the windows that are compared."""
        since_ms = (self.now_hour() - 2 * self.scenario.drift.window_days * DAY_HOURS) * HOUR_MS
        return {str(e.data["device"]) for e in self.ledger.entries() if e.kind == RELEASE and e.at_ms >= since_ms}

    def _arrays(self, version: str) -> package.Arrays:
        raw = self.blobs.read(deployment.CONTAINER, f"{version}/baseline.npz")
        if raw is None:
            raise ContractBroken(f"models/{version}/baseline.npz is missing")
        return package.decode_arrays(f"models/{version}/baseline.npz", raw)

    def _report(self, key: str, found: Verdict, baseline: Baseline | None, merged: MergedProfile) -> str:
        folder = f"drift/{key}"
        self.blobs.write(REPORTS, f"{folder}/verdict.json", msgspec.json.format(msgspec.json.encode(found), indent=2))
        unit = self.scenario.target_channel.unit
        page = drift_report(found, baseline, merged, title=self.scenario.title, unit=unit)
        self.blobs.write(REPORTS, f"{folder}/report.html", page.encode())
        return folder

    def _tell(self, key: str, told: Mapping[str, Any]) -> None:
        """Say what the newest check came to where the health route finds it."""
        self.blobs.write(*NEWEST, msgspec.json.encode({"check": key, **told}))

    def _isolate(self, key: str, found: Verdict) -> Deployment:
        """Put faulty devices into quarantine and let healthy ones out; the entry stands before the change."""
        held = set(self.control.read().quarantine)
        faulty = {} if found.kind == "pipeline" else {fault.device: fault for fault in found.faulty}
        entering, leaving = sorted(faulty.keys() - held), sorted(held & set(found.recovered))
        for device in entering:
            log.warning("device %r goes into quarantine: %s", device[:80], faulty[device].detail)
        self.ledger.extend(QUARANTINE, {f"{key}/{each}": msgspec.to_builtins(faulty[each]) for each in entering})
        self.ledger.extend(RELEASE, {f"{key}/{device}": {"device": device} for device in leaving})
        return self.control.change(
            lambda now: msgspec.structs.replace(
                now, quarantine=sorted((set(now.quarantine) | set(entering)) - set(leaving))
            )
        )

    def _signals(self, key: str, champion: str | None, look: _Inspection, merged: MergedProfile) -> Signals:
        dataset, manifest, found = self.dataset(), look.manifest, look.found
        rows = dataset[1] if dataset else 0
        if manifest is not None:  # readings that came twice are in the lake as well, labels count once
            rows = manifest.rows + labelled(merged, manifest.trained_until // self.scenario.cadence.day)
        outside = None if found is None else found.quality.outside
        return Signals(
            check=key,
            dataset=f"lake@{dataset[0]}" if dataset else None,
            labelled_rows=rows,
            champion=champion,
            trained_rows=manifest.rows if manifest else None,
            trained_ms=self._ms(manifest.trained_until) if manifest and manifest.trained_until >= 0 else None,
            drift=found.kind if found else "not enough data",
            magnitude=found.magnitude if found else None,
            quality="not enough data" if outside is None else ("outside" if outside else "inside"),
            notes=(*found.reasons, *found.quality.reasons) if found else look.damage,
        )

    def _ms(self, step: int) -> int:
        return step * self.scenario.cadence.step_s * 1000


def labelled(merged: MergedProfile, day: int) -> int:
    """Forecasts of all champions whose truth is known, made after a day (since 1970)."""
    return sum(int(row[0]) for (made, role, _), row in merged.errors.items() if role == ROLES[CHAMPION] and made > day)
