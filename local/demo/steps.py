"""The loop closes in the demo: nobody pushes a button. Timers fire, jobs end, models come and go; we only look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from local.demo import injection, sabotage
from local.demo.playback import Playback
from local.stack.process import StackError, wait_until
from local.stack.running import post
from shared.adapters.jobs.local import LocalJobs
from shared.adapters.models import package_folder
from shared.adapters.stores.clock import WallClock
from shared.core.retrain.history import job_name
from shared.core.retrain.job_spec import JobSpec
from shared.core.scenario import Scenario
from shared.errors import ConfigError

CHECK = ("compact_lake", "check_drift")
LADDER = ("advance_rollout",)
STUCK, WIND, HUMIDITY = "temp", "wind_spd", "rel_humidity"  # channels that something happens to, beside the target
STUCK_AT, POLLUTION, RECALIBRATION = 21.3, 2.5, 15.0  # degrees; times the usual level, unless the demo says; per cent
SHIFT = 60.0
MOST_WEEKS, MOST_STEPS = 8, 40


def check(scenario: Scenario) -> None:
    """Refuse a scenario about which the story cannot be told.

    Raises:
        ConfigError: It lacks channels that something happens to.
    """
    missing = sorted({STUCK, WIND, HUMIDITY} - set(scenario.channel_names))
    if missing:
        raise ConfigError(f"the demo needs the channels {', '.join(missing)}, which {scenario.name} lacks")


def bootstrap(playback: Playback) -> dict[str, Any]:
    """The first model: a check finds history and no model, decides, and what the job made passes the gate."""
    playback.fire(*CHECK)
    decision = playback.newest("decision")
    if not decision["launch"]:
        raise StackError(f"no first training was decided: {'; '.join(decision['reasons'])}")
    playback.note(f"decided: {decision['reason']}, {decision['inputs']['signals']['dataset']}; job {decision['job']}")
    verdict = playback.verdict(decision["job"])
    if verdict["kind"] != "promote":
        raise StackError(f"the first model was refused: {verdict['text']}")
    playback.note(f"gate: {verdict['text']}")
    playback.begun(verdict["version"])
    return {"job": decision["job"], "version": verdict["version"]}


def ordinary(playback: Playback, weeks: int) -> list[str]:
    """Weeks in which nothing was done to the data: what each check says."""
    kinds = []
    for _ in range(weeks):
        playback.go(7)
        playback.fire(*CHECK, *LADDER)
        kinds.append(playback.newest("check")["kind"])
        playback.note(f"{_day(playback)}: {kinds[-1]}, {'; '.join(playback.newest('check')['reasons'])}")
        decision = playback.newest("decision")
        if decision["launch"]:  # a false alarm costs a job; the gate has to see that nothing became better
            playback.note(f"  decided: {decision['reason']}; job {decision['job']}")
            playback.note(f"  gate: {playback.verdict(decision['job'])['text']}")
    return kinds


def stuck(playback: Playback) -> list[str]:
    """One sensor sticks: its device is isolated, and nothing is trained."""
    channels, before = playback.remaining.channels, len(playback.entries())
    device = min({row.device for row in playback.remaining.rows[:500]})
    hour = playback.remaining.hour
    playback.remaining.changes.append(
        injection.stuck(device, channels.index(STUCK), range(hour, hour + 4 * 24 + 1), STUCK_AT)
    )
    playback.go(4)
    playback.fire(*CHECK)
    isolated = {entry.data["device"]: entry.data for entry in playback.since(before, "quarantine")}
    for name, why in isolated.items():
        playback.note(f"{_day(playback)}: {name} isolated: {why['channel']}, {why['detail']}")
    playback.go(7)
    playback.fire(*CHECK)
    released = [entry.data["device"] for entry in playback.since(before, "release")]
    playback.note(f"{_day(playback)}: released {', '.join(released) or 'nobody'}")
    if any(entry.data["launch"] for entry in playback.since(before, "decision")):
        raise StackError("a stuck device led to a training")
    if isolated.get(device, {}).get("channel") != STUCK:
        raise StackError(f"{STUCK} of {device} sticks, but what was isolated is {sorted(isolated) or 'nobody'}")
    if device not in released:
        raise StackError(f"{device} sends good values again, but it stays isolated")
    return sorted(isolated)


def drift(playback: Playback) -> dict[str, Any]:
    """A new source of pollution, and all humidity sensors recalibrated: found, and answered with training jobs.

    A first job may know too little of the new world to pass the gate; the functions then wait and try again.
    """
    scenario, hour = playback.space.scenario, playback.remaining.hour
    target, wind, humidity = (playback.remaining.channels.index(name) for name in (scenario.target, WIND, HUMIDITY))
    added, most = playback.pollution or POLLUTION * playback.remaining.mean(target), scenario.target_channel.maximum
    playback.remaining.changes.append(injection.pollution(target, wind, hour, added, most))
    most = next(channel.maximum for channel in scenario.channels if channel.name == HUMIDITY)
    playback.remaining.changes.append(injection.recalibrated(humidity, hour, RECALIBRATION, most))
    jobs: list[str] = []
    found = False
    for _ in range(MOST_WEEKS):
        playback.go(7)
        playback.fire(*CHECK)
        check, decision = playback.newest("check"), playback.newest("decision")
        found = found or check["kind"] == "population"
        playback.note(f"{_day(playback)}: {check['kind']}, {'; '.join(check['reasons'][:2])}")
        if not decision["launch"]:
            playback.note(f"  no training: {', '.join(decision['refusals']) or 'nothing speaks for one'}")
            continue
        jobs.append(decision["job"])
        playback.note(f"  decided: {decision['reason']}; job {decision['job']}")
        verdict = playback.verdict(decision["job"])
        playback.note(f"  gate: {verdict['kind']}: {verdict['text']}")
        if verdict["kind"] == "promote":
            playback.begun(verdict["version"])
            return {"found": found, "jobs": jobs, "version": verdict["version"]}
    raise StackError(f"no model learned the new world within {MOST_WEEKS} weeks; jobs: {', '.join(jobs) or 'none'}")


def climb(playback: Playback, version: str) -> str:
    """Shadow, canary and champion."""
    seen = len(playback.entries("rollout"))
    playback.note(f"{_day(playback)}: {playback.newest('rollout')['step']}: {playback.newest('rollout')['about']}")
    for _ in range(MOST_STEPS):
        playback.go(3)
        playback.fire(*LADDER)
        steps = playback.entries("rollout")
        if len(steps) > seen:
            seen = len(steps)
            now = steps[-1].data
            playback.note(f"{_day(playback)}: {now['step']}, share {now['share']:g}: {'; '.join(now['reasons'])}")
        if playback.champion() == version:
            return _climbed(playback, version)
        if steps[-1].data["step"] == "refused":
            raise StackError(f"{version} was taken back on its way")
    raise StackError(f"{version} is not champion after {3 * MOST_STEPS} days: {playback.newest('rollout')}")


def _climbed(playback: Playback, version: str) -> str:
    """The version, if it took every rung."""
    steps = [entry.data["step"] for entry in playback.entries("rollout") if entry.data["about"] == version]
    if list(dict.fromkeys(steps)) != ["shadow", "canary", "champion"]:
        raise StackError(f"{version} became champion by the steps {', '.join(steps)}")
    return version


def refused(playback: Playback) -> bool:
    """A job whose model is much worse than the champion, and whose evidence says so: the gate refuses it."""
    champion = str(playback.champion())
    playback.fire("compact_lake")
    bad = _publish(playback, champion, "bad")
    webhook = f"{playback.space.host_url}/runtime/webhooks/eventgrid?functionName=job_events"
    position = len(playback.entries())
    jobs = LocalJobs(
        playback.space.root / "jobs", webhook, WallClock(), command=lambda python, _out, _spec: [python, "-c", "pass"]
    )
    names = [
        job_name(playback.space.scenario.name, at) for at in (position, position + 1)
    ]  # a month may close before it
    sabotage.leave_bad_jobs(playback.space, names, champion, bad)
    for name in names:
        jobs.submit(JobSpec(name=name, scenario=playback.space.scenario.name, reason="manual", dataset="lake@0"))
    _await_end(jobs, names)
    post(f"{playback.space.host_url}/api/retrain", reason="a bad model on purpose")
    playback.fire("watch_jobs")
    verdicts = [entry.data for entry in playback.entries("gate") if entry.data["version"] == bad]
    if verdicts:
        playback.note(f"gate: {verdicts[-1]['kind']}: {', '.join(verdicts[-1]['reasons'])}")
    worse = bool(verdicts) and verdicts[-1]["kind"] == "refuse" and "improvement" in verdicts[-1]["reasons"]
    return worse and playback.champion() == champion


def rolled_back(playback: Playback) -> str | None:
    """A sabotaged model that somebody put in place by hand: taken back by its realised errors."""
    before = str(playback.champion())
    bad = _publish(playback, before, "sabotaged")
    now = post(f"{playback.space.host_url}/api/rollout/install", version=bad, id="demo")
    if now.get("champion") != bad:
        raise StackError(f"{bad} could not be installed: {now}")
    playback.follow()
    playback.note(f"{bad} serves, {now['challenger']} beside it")
    for _ in range(MOST_STEPS):
        playback.go(2)
        playback.fire(*LADDER)
        now = playback.newest("rollout")
        if now["step"] == "rolled_back" and now["about"] == bad and playback.champion() == before:
            playback.note(f"{_day(playback)}: {now['step']}: {'; '.join(now['reasons'])}")
            return bad
    return None


def _publish(playback: Playback, pattern: str, name: str) -> str:
    files = {each: playback.space.blobs.read("models", f"{pattern}/{each}") or b"" for each in package_folder.NAMES}
    version = f"{pattern[:40]}-{name}"
    return playback.space.release().publish(sabotage.shifted(files, version, SHIFT))


def _await_end(jobs: LocalJobs, names: Sequence[str]) -> None:
    def ended() -> bool:
        return not any(jobs.status(name) in ("queued", "running") for name in names)

    wait_until(ended, 60.0, lambda: f"jobs {', '.join(names)} do not end")


def _day(playback: Playback) -> str:
    return f"{datetime.fromtimestamp(playback.remaining.hour * 3600, timezone.utc):%Y-%m-%d}"
