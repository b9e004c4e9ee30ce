"""What partitions tell of their data and forecasts: counts by day that add up across partitions, and their devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from shared.core.intake.readings import Longs
from shared.core.model.scoring import ROLES
from shared.core.profile.bins import Edges, add_sums
from shared.core.profile.capture import Profile, ProfileSnapshot, of
from shared.core.profile.device_table import DeviceTable, joined
from shared.core.profile.encoding import decode, encode
from shared.core.task.calendar import DAY_HOURS, NO_HOUR
from shared.core.task.task import Task
from shared.errors import ContractBroken

__all__ = ["DeviceTable", "MergedProfile", "Profile", "ProfileSnapshot", "decode", "encode", "merge", "of"]


@dataclass(frozen=True, slots=True)
class MergedProfile:
    """The profiles of all partitions added up; role is a name, model a version.

    Args:
        task: Says what the sums mean.
        stamps: Epoch and next sequence number of each partition's profile.
        newest_hour: Newest head of any device, hours since 1970, `NO_HOUR` if there is none.
        watched: Names and versions of the watched features, W of them.
        edges: Edges of their bins, float64, shape (W, BINS + 1).
        histograms: Counts of the champion's matured forecasts' features, int64, shape (W, BINS + 1), by as-of day.
        forecasts: Counts of matured forecasts, int64, shape (BINS + 1,), by (day, role, model).
        errors: Error sums named by the task's losses, by (day, role, model).
        pairs: Sums over rows both roles forecast, named likewise, by (day, champion, challenger).
        devices: All devices.
    """

    task: Task
    stamps: dict[int, tuple[int, int]]
    newest_hour: int
    watched: tuple[tuple[str, int], ...]
    edges: Edges
    histograms: dict[int, Longs]
    forecasts: dict[tuple[int, str, str], Longs]
    errors: dict[tuple[int, str, str], Longs]
    pairs: dict[tuple[int, str, str], Longs]
    devices: DeviceTable

    @property
    def today(self) -> int:
        """The newest day of the data, since 1970; 0 without any."""
        return max(self.newest_hour, 0) // DAY_HOURS


def merge(task: Task, profiles: Iterable[Profile]) -> MergedProfile:
    """The profiles of different partitions added up.

    Raises:
        ContractBroken: Two are of one partition, or one rests on other rules than the task's or counts other bins.
    """
    found = sorted(profiles, key=lambda profile: profile.partition)
    watched = _common(task, found)
    sums: dict[str, dict[Any, Longs]] = {"histograms": {}, "forecasts": {}, "errors": {}, "pairs": {}}
    for profile in found:
        add_sums(sums["histograms"], profile.histograms)
        add_sums(sums["forecasts"], _by_name(profile, profile.forecasts))
        add_sums(sums["errors"], _by_name(profile, profile.errors))
        version = profile.models.__getitem__
        add_sums(sums["pairs"], {(d, version(a), version(b)): s for (d, a, b), s in profile.pairs.items()})
    devices = joined([profile.devices for profile in found], len(task.device_columns))
    return MergedProfile(
        task,
        {profile.partition: (profile.epoch, profile.next) for profile in found},
        int(devices.head.max(initial=NO_HOUR)),
        *watched,
        sums["histograms"],
        sums["forecasts"],
        sums["errors"],
        sums["pairs"],
        devices,
    )


def _by_name(profile: Profile, sums: Mapping[tuple[int, int, int], Longs]) -> dict[tuple[int, str, str], Longs]:
    return {(day, ROLES[role], profile.models[model]): row for (day, role, model), row in sums.items()}


def _common(task: Task, found: Sequence[Profile]) -> tuple[tuple[tuple[str, int], ...], Edges]:
    """Names and bins that all profiles share."""
    for one, two in pairwise(found):
        if one.partition == two.partition:
            raise ContractBroken(f"two profiles of partition {one.partition}, at {one.next} and {two.next}")
        if one.watched != two.watched or not np.array_equal(one.edges, two.edges):
            raise ContractBroken(f"profiles of partitions {one.partition} and {two.partition} count different bins")
    for profile in found:
        if profile.rules != task.rules:
            raise ContractBroken(f"profile of partition {profile.partition} belongs to {', '.join(profile.rules)}")
    if found:
        return found[0].watched, found[0].edges
    return task.watched.names, task.watched.edges
