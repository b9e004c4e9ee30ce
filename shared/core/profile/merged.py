"""What partitions tell of their data and forecasts: counts by day that add up across partitions, and their devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from shared.core.forecast.features.watched import Edges, Watched
from shared.core.forecast.ring import NO_HOUR
from shared.core.forecast.snapshot import rules_of
from shared.core.forecast.state import ROLES, Day
from shared.core.forecast.tallies import add_errors
from shared.core.intake.readings import Longs
from shared.core.profile.capture import Profile, Taken, of
from shared.core.profile.device_table import DeviceTable, joined
from shared.core.profile.encoding import decode, encode
from shared.core.scenario import Scenario
from shared.errors import ContractBroken

__all__ = ["DeviceTable", "Merged", "Profile", "Taken", "decode", "encode", "merge", "of"]


@dataclass(frozen=True, slots=True)
class Merged:
    """The profiles of all partitions added up; role is a name, model a version.

    Args:
        stamps: Epoch and next sequence number of each partition's profile.
        newest_hour: Newest head of any device, hours since 1970, `NO_HOUR` if there is none.
        watched: Names and versions of the watched features, W of them.
        edges: Edges of their bins, float64, shape (W, BINS + 1).
        histograms: Counts of the champion's matured forecasts' features, int64, shape (W, BINS + 1), by as-of day.
        forecasts: Counts of matured forecasts, int64, shape (BINS + 1,), by (day, role, model).
        errors: Error sums in quanta, named by `ERRORS`, by (day, role, model).
        pairs: Sums over rows both roles forecast, named by `PAIRS`, by (day, champion, challenger).
        devices: All devices.
    """

    stamps: dict[int, tuple[int, int]]
    newest_hour: int
    watched: tuple[tuple[str, int], ...]
    edges: Edges
    histograms: dict[Day, Longs]
    forecasts: dict[tuple[Day, str, str], Longs]
    errors: dict[tuple[Day, str, str], Longs]
    pairs: dict[tuple[Day, str, str], Longs]
    devices: DeviceTable

    @property
    def today(self) -> Day:
        """The newest day of the data, since 1970; 0 without any."""
        return max(self.newest_hour, 0) // 24


def merge(scenario: Scenario, profiles: Iterable[Profile]) -> Merged:
    """The profiles of different partitions added up.

    Raises:
        ContractBroken: Two are of one partition, or one rests on other rules than the scenario's or counts other bins.
    """
    found = sorted(profiles, key=lambda profile: profile.partition)
    watched = _common(scenario, found)
    sums: dict[str, dict[Any, Longs]] = {"histograms": {}, "forecasts": {}, "errors": {}, "pairs": {}}
    for profile in found:
        add_errors(sums["histograms"], profile.histograms)
        add_errors(sums["forecasts"], _named(profile, profile.forecasts))
        add_errors(sums["errors"], _named(profile, profile.errors))
        version = profile.models.__getitem__
        add_errors(sums["pairs"], {(d, version(a), version(b)): s for (d, a, b), s in profile.pairs.items()})
    devices = joined([profile.devices for profile in found], len(scenario.stored))
    return Merged(
        {profile.partition: (profile.epoch, profile.next) for profile in found},
        int(devices.head.max(initial=NO_HOUR)),
        *watched,
        sums["histograms"],
        sums["forecasts"],
        sums["errors"],
        sums["pairs"],
        devices,
    )


def _named(profile: Profile, sums: Mapping[tuple[Day, int, int], Longs]) -> dict[tuple[Day, str, str], Longs]:
    return {(day, ROLES[role], profile.models[model]): row for (day, role, model), row in sums.items()}


def _common(scenario: Scenario, found: Sequence[Profile]) -> tuple[tuple[tuple[str, int], ...], Edges]:
    """Names and bins that all profiles share."""
    rules = rules_of(scenario)
    for one, two in pairwise(found):
        if one.partition == two.partition:
            raise ContractBroken(f"two profiles of partition {one.partition}, at {one.next} and {two.next}")
        if one.watched != two.watched or not np.array_equal(one.edges, two.edges):
            raise ContractBroken(f"profiles of partitions {one.partition} and {two.partition} count different bins")
    for profile in found:
        if profile.rules != rules:
            raise ContractBroken(f"profile of partition {profile.partition} belongs to {', '.join(profile.rules)}")
    if found:
        return found[0].watched, found[0].edges
    own = Watched.of(scenario)
    return own.names, own.edges
