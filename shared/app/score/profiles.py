"""Profiles of the partitions as blobs: written beside the work, read by whoever watches."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shared.core.profile import merged as profile
from shared.core.profile.merged import MergedProfile, Profile, ProfileSnapshot
from shared.core.task.calendar import NO_HOUR
from shared.core.task.state import State
from shared.core.task.task import Task
from shared.errors import ContractBroken, PipelineError
from shared.ports import Blobs, Clock

log = logging.getLogger(__name__)
CONTAINER = "profiles"
INTERVAL_S = 10.0
PART = 10  # profiles take at most such a part of a worker's time: a tenth
Reach = tuple[int, int]  # newest day that was counted, newest hour of a device
NOTHING: Reach = (-1, NO_HOUR)


def name_of(partition: int) -> str:
    """Name of a partition's profile."""
    return f"partition={partition:02d}.profile"


@dataclass(frozen=True)
class ProfileMerge:
    """All partitions' profiles added up, whenever it is called.

    Args:
        profiles: Where they are.
        partitions: How many partitions there are.
        recover: A partition's state from its commits, where its profile is unusable.
        outrun: Whether commits have left a profile behind.
        reach: Called with the newest hour of the data.
    """

    profiles: Profiles
    partitions: Callable[[], int]
    recover: Callable[[int], State]
    outrun: Callable[[Profile], bool] = lambda _: False
    reach: Callable[[int], None] = lambda _: None

    def __call__(self) -> MergedProfile:
        """The sums of now."""
        found = self.profiles.read_all(range(self.partitions()), self.recover, self.outrun)
        merged = profile.merge(self.profiles.task, found)
        if merged.newest_hour >= 0:
            self.reach(merged.newest_hour)
        return merged


@dataclass
class Profiles:
    """Writes a partition's profile now and then, and reads those of all partitions.

    Args:
        task: Says what the profiles count.
        blobs: Where profiles are kept.
        clock: Says how long ago a profile was written.
        in_background: Runs a job off the critical path; a test may run it at once.
        interval_s: Shortest time between two profiles of a partition; longer where making one takes long.
    """

    task: Task
    blobs: Blobs
    clock: Clock
    in_background: Callable[[Callable[[], None]], object]
    interval_s: float = INTERVAL_S
    _due: set[int] = field(default_factory=set)
    _busy: set[int] = field(default_factory=set)
    _taken: dict[int, tuple[Reach, float]] = field(default_factory=dict)
    _cost_s: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def consider(self, state: State, *, due: bool) -> None:
        """Take a profile of a state that was just committed, if one is due, and upload it beside the work.

        Args:
            state: The state, which may go on changing afterwards.
            due: Whether one is wanted anyhow; one is also due when the newest day that was counted or the newest hour
                of a device moved on. One that cannot be taken now, because another is on its way or was taken a moment
                ago, stays due.
        """
        number = state.partition
        reached = max(state.histograms, default=-1), self.task.newest_hour(state)
        with self._lock:
            before, taken_s = self._taken.get(number, (NOTHING, -math.inf))
            if due or reached != before:
                self._due.add(number)
            now_s = self.clock.elapsed_s()
            pause_s = max(self.interval_s, PART * self._cost_s.get(number, 0.0))
            if number not in self._due or number in self._busy or not now_s - taken_s >= pause_s:
                return
            self._due.discard(number)
            self._busy.add(number)
            self._taken[number] = reached, now_s
        try:
            taken = ProfileSnapshot.of(self.task, state)
            self.in_background(lambda: self._upload(taken))
        except BaseException:
            self._end(number, again=True)
            raise

    def _upload(self, taken: ProfileSnapshot) -> None:
        number, stored, began_s = taken.sums.partition, False, self.clock.elapsed_s()
        try:
            self._write(taken.profile())
            stored = True
            self._cost_s[number] = self.clock.elapsed_s() - began_s
        except PipelineError as error:
            log.warning("%s/%s was not stored, the next one will be: %s", CONTAINER, name_of(number), error)
        finally:
            self._end(number, again=not stored)

    def _end(self, number: int, *, again: bool) -> None:
        with self._lock:
            self._busy.discard(number)
            if again:
                self._due.add(number)

    def _write(self, found: Profile) -> None:
        self.blobs.write(CONTAINER, name_of(found.partition), profile.encode(found))

    def read_all(
        self,
        partitions: Iterable[int],
        recover: Callable[[int], State],
        outrun: Callable[[Profile], bool] = lambda _: False,
    ) -> list[Profile]:
        """Profiles of partitions, in this order; one that is missing, not usable or outrun is made anew and stored.

        Args:
            partitions: Their numbers.
            recover: Gives a partition's state from its commits.
            outrun: Whether commits have left a profile behind.

        Raises:
            TransientFailure: The store does not answer.
            ContractBroken: A partition's commits cannot be read either.
        """
        found = ((number, self._read(number)) for number in partitions)
        return [self._anew(recover(number)) if one is None or outrun(one) else one for number, one in found]

    def _read(self, number: int) -> Profile | None:
        raw = self.blobs.read(CONTAINER, name_of(number))
        if raw is None:
            log.warning("%s/%s is missing and made anew from the commits", CONTAINER, name_of(number))
            return None
        try:
            return self._verified(number, profile.decode(raw, self.task.losses))
        except ContractBroken as error:
            log.warning("%s/%s is made anew from the commits: %s", CONTAINER, name_of(number), error)
        return None

    def _verified(self, number: int, found: Profile) -> Profile:
        if found.partition != number:
            raise ContractBroken(f"it is of partition {found.partition}")
        if found.rules != self.task.rules or found.watched != self.task.watched.names:
            raise ContractBroken(f"it belongs to {', '.join(found.rules)}")
        return found

    def _anew(self, state: State) -> Profile:
        found = profile.of(self.task, state)
        self._write(found)
        return found
