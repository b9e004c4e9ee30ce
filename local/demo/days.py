"""The second half of the demo: nobody pushes a button. Timers fire, jobs end, models come and go; we only look."""

from __future__ import annotations

import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from local.commands import get
from local.demo import sabotage
from local.demo.injection import Pollution, Recalibrated, Stuck, Tail
from local.demo.watch import Watch
from local.send.faults import Faults, Plan
from local.send.record import Record
from local.send.sources import Source
from local.send.stream import Pace, stream
from local.send.wire import Sender
from local.stack.process import StackError
from local.stack.stack import Stack
from local.stack.workspace import Workspace
from shared.adapters.jobs.local import LocalJobs
from shared.adapters.models import package_folder
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.app.release.control import ControlDocument
from shared.app.score.profiles import name_of
from shared.core.ledger import Entry
from shared.core.profile import merged
from shared.core.retrain.history import job_name
from shared.ports import JobSpec, JobState

JOB_S, FIRE_S, FOLLOW_S, PROFILES_S, SETTLE_S = 300.0, 300.0, 60.0, 3.0, 0.5
CHECK = ("compact_lake", "check_drift")
LADDER = ("advance_rollout",)
POLLUTION, HUMIDITY = 2.5, 15.0  # times the usual level, unless the demo says how much; per cent
SHIFT = 60.0
MOST_WEEKS, MOST_STEPS = 8, 40


@dataclass
class Days:
    """Event time that passes in steps, and what the functions did in it.

    Args:
        tell: Says what happened.
        space: The stack's stores.
        stack: Its processes.
        watch: Waits until what was sent is committed.
        sender: To the devices' hub; opening one takes two seconds, so that it stays open.
        tail: Readings still to come.
        seed: Seed of the sending.
        pollution: What the new source adds in calm air, None for `POLLUTION` times the usual level.
        spans: Names of the parts of the story, with the first hour of each.
    """

    tell: Callable[[str], None]
    space: Workspace
    stack: Stack
    watch: Watch
    sender: Sender
    tail: Tail
    seed: int
    pollution: float | None = None
    spans: list[tuple[str, int]] = field(default_factory=list)
    sent: int = 0
    expected: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, name: str) -> None:
        """A new part of the story begins with the next reading."""
        self.spans.append((name, self.tail.hour))

    def go(self, days: int, faults: Faults | None = None, pace: Pace | None = None) -> Record:
        """Stream some days and wait until they are committed.

        Raises:
            StackError: The data end before the story does.
        """
        if days > self.tail.days_left:
            raise StackError(
                f"the data end {days - self.tail.days_left} days before the story does: give it more history"
            )
        if not self.watch.quiet:
            return self._send(self.tail.take(24 * days), faults, pace)
        record = self._send(self.tail.take(24 * days - 1), faults, pace)
        before = self._next()
        time.sleep(SETTLE_S)
        self._send(self.tail.take(1), None, None)  # days pass in moments here: with the last hour profiles are fresh
        self._await_profiles(before)
        return record

    def _next(self) -> dict[str, int]:
        """The reading at which each partition stands."""
        partitions = get(f"{self.space.host_url}/api/health")["partitions"]
        return {number: found["next"] for number, found in partitions.items()}

    def _await_profiles(self, before: dict[str, int]) -> None:
        """Wait for profiles of all partitions that the last hour moved; they hold all that came before it."""
        deadline = time.monotonic() + PROFILES_S
        for number, reached in self._next().items():
            while reached > before.get(number, 0) and time.monotonic() < deadline:
                raw = self.space.blobs.read("profiles", name_of(int(number)))
                if raw is not None and merged.decode(raw).next > before.get(number, 0):
                    break
                time.sleep(0.05)

    def _send(self, source: Source, faults: Faults | None, pace: Pace | None) -> Record:
        def work(note: Callable[[Record], None]) -> Record:
            plan = Plan(source, faults or Faults(), self.seed + len(self.expected), self.space.scenario)
            return stream(plan, self.sender, pace=pace or Pace(), on_progress=note)

        record = self.watch.during(work)
        self.sent += record.sent
        self.expected.append(record.expected())
        return record

    def fire(self, *functions: str) -> None:
        """Let timers fire now, one after the other.

        Raises:
            StackError: One failed.
        """
        for name in functions:
            url = f"{self.space.host_url}/admin/functions/{name}?wait=true"
            try:
                urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=FIRE_S).close()  # noqa: S310
            except urllib.error.HTTPError as error:
                raise StackError(f"{name}: {error.read().decode(errors='replace')[:500]}") from error
            except OSError as error:
                raise StackError(f"{name}: the host does not answer: {error}") from error
        self.follow()

    def follow(self) -> None:
        """Wait until the host answers as the control document says: minutes of event time pass in a moment here.

        Raises:
            StackError: It refuses a package, or does not follow within a minute.
        """
        deadline = time.monotonic() + FOLLOW_S
        while True:
            wanted = ControlDocument(self.space.blobs).read()
            told = {"champion": wanted.champion, "challenger": wanted.challenger, "share": wanted.share}
            found = get(f"{self.space.host_url}/api/health")
            if all(found[name] == each for name, each in told.items()):
                return
            if found["refused"] or time.monotonic() > deadline:
                raise StackError(f"{told} is not what serves after {FOLLOW_S:.0f} s at most: {found}")
            self.stack.check()
            time.sleep(0.2)

    def entries(self, *kinds: str) -> list[Entry]:
        """What the ledger holds."""
        found = Ledger(self.space.scenario.name, self.space.blobs, WallClock()).entries()
        return [entry for entry in found if not kinds or entry.kind in kinds]

    def since(self, position: int, kind: str) -> list[Entry]:
        """What the ledger holds of a kind from a position on."""
        return [entry for entry in self.entries(kind) if entry.position >= position]

    def newest(self, kind: str) -> dict[str, Any]:
        """Data of the newest entry of a kind.

        Raises:
            StackError: There is none.
        """
        found = self.entries(kind)
        if not found:
            raise StackError(f"the ledger holds no entry of kind {kind}")
        return found[-1].data

    def champion(self) -> str | None:
        """Who serves."""
        return ControlDocument(self.space.blobs).read().champion

    def job_done(self, job: str) -> dict[str, Any]:
        """Wait for a job's end, and for what the gate says of its model.

        Raises:
            StackError: It failed, or took too long.
        """
        deadline = time.monotonic() + JOB_S
        while time.monotonic() < deadline:
            self.stack.check()
            for entry in self.entries("job_ended"):
                if entry.key == job and entry.data["status"] != "completed":
                    log = self.space.root / "jobs" / job / "log.txt"
                    raise StackError(f"job {job} {entry.data['status']}: see {log}")
            verdicts = [entry.data for entry in self.entries("gate") if entry.data["job"] == job]
            if verdicts:
                return verdicts[-1]
            time.sleep(0.5)
        raise StackError(f"job {job} did not end within {JOB_S:.0f} s")

    def begun(self, version: str) -> None:
        """Wait until a version that passed the gate serves or is scored beside the champion.

        Raises:
            StackError: Its rollout does not begin.
        """
        deadline = time.monotonic() + FOLLOW_S
        while version not in (entry.data["about"] for entry in self.entries("rollout")):
            if time.monotonic() > deadline:
                raise StackError(f"the rollout of {version} did not begin within {FOLLOW_S:.0f} s")
            self.stack.check()
            time.sleep(0.2)
        self.follow()


def bootstrap(days: Days) -> dict[str, Any]:
    """The first model: a check finds history and no model, decides, and what the job made passes the gate."""
    days.fire(*CHECK)
    decision = days.newest("decision")
    if not decision["launch"]:
        raise StackError(f"no first training was decided: {'; '.join(decision['reasons'])}")
    days.tell(f"decided: {decision['reason']}, {decision['inputs']['signals']['dataset']}; job {decision['job']}")
    verdict = days.job_done(decision["job"])
    if verdict["kind"] != "promote":
        raise StackError(f"the first model was refused: {verdict['text']}")
    days.tell(f"gate: {verdict['text']}")
    days.begun(verdict["version"])
    return {"job": decision["job"], "version": verdict["version"]}


def ordinary(days: Days, weeks: int) -> list[str]:
    """Weeks in which nothing was done to the data: what each check says."""
    kinds = []
    for _ in range(weeks):
        days.go(7)
        days.fire(*CHECK, *LADDER)
        kinds.append(days.newest("check")["kind"])
        days.tell(f"{_day(days)}: {kinds[-1]}, {'; '.join(days.newest('check')['reasons'])}")
        decision = days.newest("decision")
        if decision["launch"]:  # a false alarm costs a job; the gate has to see that nothing became better
            days.tell(f"  decided: {decision['reason']}; job {decision['job']}")
            days.tell(f"  gate: {days.job_done(decision['job'])['text']}")
    return kinds


def stuck(days: Days) -> list[str]:
    """One sensor sticks: its device is isolated, and nothing is trained."""
    channels, before = days.tail.channels, len(days.entries())
    device = min({row.device for row in days.tail.rows[:500]})
    hour = days.tail.hour
    days.tail.changes.append(Stuck(device, channels.index("temp"), hour, hour + 4 * 24, 21.3))
    days.go(4)
    days.fire(*CHECK)
    isolated = {entry.data["device"]: entry.data for entry in days.since(before, "quarantine")}
    for name, told in isolated.items():
        days.tell(f"{_day(days)}: {name} isolated: {told['channel']}, {told['detail']}")
    days.go(7)
    days.fire(*CHECK)
    released = [entry.data["device"] for entry in days.since(before, "release")]
    days.tell(f"{_day(days)}: released {', '.join(released) or 'nobody'}")
    if any(entry.data["launch"] for entry in days.since(before, "decision")):
        raise StackError("a stuck device led to a training")
    if isolated.get(device, {}).get("channel") != "temp":
        raise StackError(f"the temperature of {device} sticks, but what was isolated is {sorted(isolated) or 'nobody'}")
    if device not in released:
        raise StackError(f"{device} sends good values again, but it stays isolated")
    return sorted(isolated)


def drift(days: Days) -> dict[str, Any]:
    """A new source of pollution, and all humidity sensors recalibrated: found, and answered with training jobs.

    A first job may know too little of the new world to pass the gate; the functions then wait and try again.
    """
    channels, hour = days.tail.channels, days.tail.hour
    by_name = {channel.name: channel for channel in days.space.scenario.channels}
    target, wind, humidity = (channels.index(name) for name in ("pm25", "wind_spd", "rel_humidity"))
    days.tail.changes += [
        Pollution(target, wind, hour, days.pollution or POLLUTION * days.tail.mean(target), by_name["pm25"].maximum),
        Recalibrated(humidity, hour, HUMIDITY, by_name["rel_humidity"].maximum),
    ]
    jobs: list[str] = []
    found = False
    for _ in range(MOST_WEEKS):
        days.go(7)
        days.fire(*CHECK)
        check, decision = days.newest("check"), days.newest("decision")
        found = found or check["kind"] == "population"
        days.tell(f"{_day(days)}: {check['kind']}, {'; '.join(check['reasons'][:2])}")
        if not decision["launch"]:
            days.tell(f"  no training: {', '.join(decision['refusals']) or 'nothing speaks for one'}")
            continue
        jobs.append(decision["job"])
        days.tell(f"  decided: {decision['reason']}; job {decision['job']}")
        verdict = days.job_done(decision["job"])
        days.tell(f"  gate: {verdict['kind']}: {verdict['text']}")
        if verdict["kind"] == "promote":
            days.begun(verdict["version"])
            return {"found": found, "jobs": jobs, "version": verdict["version"]}
    raise StackError(f"no model learned the new world within {MOST_WEEKS} weeks; jobs: {', '.join(jobs) or 'none'}")


def climb(days: Days, version: str) -> str:
    """Shadow, canary and champion."""
    seen = len(days.entries("rollout"))
    days.tell(f"{_day(days)}: {days.newest('rollout')['step']}: {days.newest('rollout')['about']}")
    for _ in range(MOST_STEPS):
        days.go(3)
        days.fire(*LADDER)
        steps = days.entries("rollout")
        if len(steps) > seen:
            seen = len(steps)
            now = steps[-1].data
            days.tell(f"{_day(days)}: {now['step']}, share {now['share']:g}: {'; '.join(now['reasons'])}")
        if days.champion() == version:
            return _climbed(days, version)
        if steps[-1].data["step"] == "refused":
            raise StackError(f"{version} was taken back on its way")
    raise StackError(f"{version} is not champion after {3 * MOST_STEPS} days: {days.newest('rollout')}")


def _climbed(days: Days, version: str) -> str:
    """The version, if it took every rung."""
    steps = [entry.data["step"] for entry in days.entries("rollout") if entry.data["about"] == version]
    if list(dict.fromkeys(steps)) != ["shadow", "canary", "champion"]:
        raise StackError(f"{version} became champion by the steps {', '.join(steps)}")
    return version


def refused(days: Days) -> bool:
    """A job whose model is much worse than the champion, and whose evidence says so: the gate refuses it."""
    champion = str(days.champion())
    days.fire("compact_lake")
    bad = _publish(days, champion, "bad")
    webhook = f"{days.space.host_url}/runtime/webhooks/eventgrid?functionName=job_events"
    position = len(days.entries())
    jobs = LocalJobs(
        days.space.root / "jobs", webhook, WallClock(), command=lambda python, _out, _spec: [python, "-c", "pass"]
    )
    names = [job_name(days.space.scenario.name, at) for at in (position, position + 1)]  # a month may close before it
    sabotage.leave_bad_jobs(days.space, names, champion, bad)
    for name in names:
        jobs.submit(JobSpec(name=name, scenario=days.space.scenario.name, reason="manual", dataset="lake@0"))
    _ended(jobs, names)
    query = urllib.parse.urlencode({"reason": "a bad model on purpose"})
    get(f"{days.space.host_url}/api/retrain?{query}", method="POST")
    days.fire("watch_jobs")
    verdicts = [entry.data for entry in days.entries("gate") if entry.data["version"] == bad]
    if verdicts:
        days.tell(f"gate: {verdicts[-1]['kind']}: {', '.join(verdicts[-1]['reasons'])}")
    worse = bool(verdicts) and verdicts[-1]["kind"] == "refuse" and "improvement" in verdicts[-1]["reasons"]
    return worse and days.champion() == champion


def rolled_back(days: Days) -> str | None:
    """A sabotaged model that somebody put in place by hand: taken back by its realised errors."""
    before = str(days.champion())
    bad = _publish(days, before, "sabotaged")
    query = urllib.parse.urlencode({"version": bad, "id": "demo"})
    stand = get(f"{days.space.host_url}/api/rollout/install?{query}", method="POST")
    if stand.get("champion") != bad:
        raise StackError(f"{bad} could not be installed: {stand}")
    days.follow()
    days.tell(f"{bad} serves, {stand['challenger']} beside it")
    for _ in range(MOST_STEPS):
        days.go(2)
        days.fire(*LADDER)
        now = days.newest("rollout")
        if now["step"] == "rolled_back" and now["about"] == bad and days.champion() == before:
            days.tell(f"{_day(days)}: {now['step']}: {'; '.join(now['reasons'])}")
            return bad
    return None


def _publish(days: Days, pattern: str, name: str) -> str:
    files = {each: days.space.blobs.read("models", f"{pattern}/{each}") or b"" for each in package_folder.NAMES}
    version = f"{pattern[:40]}-{name}"
    return days.space.release().publish(sabotage.shifted(files, version, SHIFT))


def _ended(jobs: LocalJobs, names: Sequence[str]) -> None:
    deadline = time.monotonic() + 60
    open_states: tuple[JobState | None, ...] = ("queued", "running")
    while any(jobs.status(name) in open_states for name in names):
        if time.monotonic() > deadline:
            raise StackError(f"jobs {', '.join(names)} do not end")
        time.sleep(0.1)


def _day(days: Days) -> str:
    import numpy as np

    return str(np.datetime64(days.tail.hour, "h").astype("datetime64[D]"))
