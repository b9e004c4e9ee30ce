"""The demo's loop: history becomes a model, the model serves, what follows is forecast, and everything is recounted."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from local.books import recount as bookkeeping
from local.demo import steps
from local.demo.phases import Story
from local.demo.playback import Playback
from local.demo.report import summary as demo_summary
from local.demo.report.evaluate import Evaluation, evaluate
from local.demo.report.read_once import ReadOnce
from local.inspect.show import show_summary
from local.send.faults import Faults
from local.send.stream import Pace
from local.stack.running import await_summary, get
from local.stack.workspace import DEVICES, READINGS
from shared.adapters.stores.clock import WallClock
from shared.app.ledger_store import Ledger
from shared.core.model.manifest import decode_manifest

STREAM_DAYS, ORDINARY_WEEKS, LIVE_DAYS = 7, 2, 3
FAULTS = Faults(resend=0.005, garbage=0.002, late=0.01)
LIVE_PER_S = 200.0


def whole(
    story: Story, playback: Playback, parts: dict[str, Path], zone: str | None, since: int
) -> tuple[dict[str, Any], Evaluation]:
    """From the dropped history to the recount: what the summary says, and how good the forecasts were."""
    space = playback.space

    def dropped(path: Path) -> dict[str, Any]:
        summary = await_summary(space, space.drop(path, path.name, zone), playback.stack)
        show_summary(story.console, summary)
        return summary

    with story.phase("drop the history"):
        first = dropped(parts["history"])
        story.note(f"{first['rows_accepted']:,} readings folded into hourly state")
    with story.phase("the first model: decided, trained, judged and deployed by the functions"):
        started = time.monotonic()
        made = steps.bootstrap(playback)
        train_seconds = time.monotonic() - started
        manifest = decode_manifest(space.blobs.read("models", f"{made['version']}/manifest.json") or b"")
        story.note(f"{manifest.version} serves: {len(manifest.features)} features, {manifest.size_bytes / 1e3:,.0f} kB")
    with story.phase("drop what came next"):
        started = time.monotonic()
        second = dropped(parts["next"])
        score_seconds = time.monotonic() - started
        story.note(f"{second['rows_in'] / score_seconds:,.0f} rows/s from the drop to the summary")
    streamed = _stream(story, playback)
    closed = _closed(story, playback, made)
    drifted = dict(playback.spans)["drift, old model"]
    with story.phase("recount"):
        blobs = ReadOnce(space.blobs)
        evaluation = evaluate(blobs, space.files, manifest.damped, since, drifted)
        everything = evaluate(blobs, space.files, manifest.damped, since)
        books = bookkeeping.recount(blobs, space.files, space.logs, READINGS, DEVICES)
        entries = Ledger(space.scenario.name, space.blobs, WallClock()).verify()
        for problem in books.problems:
            story.note(f"does not balance: {problem}")
        story.note("forecasts against what came; every reading against log, commits and dead letters")
        story.note(f"the ledger's {entries} entries follow on each other")
    rows = {name: first[name] + second[name] for name in ("rows_in", "rows_accepted", "rows_rejected")}
    summary = {
        **rows,
        "predictions": evaluation.predictions,
        **evaluation.scores(),
        "nominal_coverage": space.scenario.interval,
        "model_version": manifest.version,
        "features": len(manifest.features),
        "train_seconds": round(train_seconds, 2),
        "score_rows_per_second": round(second["forecasts"] / score_seconds, 1),
        **streamed,
        **closed,
        "mae_by_phase": demo_summary.by_phase(playback.spans, everything.outcomes, space.scenario.horizon),
        "until": datetime.fromtimestamp(drifted * 3600, timezone.utc).isoformat(),
        "events_sent": playback.sent,
        **bookkeeping.as_json(books),
        "faults_found": demo_summary.faults_found(playback.expected, books),
        "since": datetime.fromtimestamp(since * 3600, timezone.utc).isoformat(),
    }
    return summary, evaluation


def _stream(story: Story, playback: Playback) -> dict[str, Any]:
    """Stream some days as fast as the hub takes them, with faults, then some at a steady rate."""
    playback.begin("as it was")
    with story.phase("stream to the devices' hub, with faults"):
        started = time.monotonic()
        fast = playback.go(STREAM_DAYS, FAULTS)
        rate = fast.sent / (time.monotonic() - started)
        injected = ", ".join(f"{count:,} {kind}" for kind, count in sorted(fast.injected.items()))
        story.note(f"{fast.sent:,} messages, {injected} injected; {rate:,.0f} a second to the last forecast")
    with story.phase(f"live: {LIVE_PER_S:.0f} messages a second"):
        started = time.monotonic()
        playback.go(LIVE_DAYS, pace=Pace(rate=LIVE_PER_S))
        window = time.monotonic() - started
        latency = get(f"{playback.space.host_url}/api/health?window={window:.1f}")["latency"]
        story.note(f"from message to committed forecast: median {latency['p50_ms']} ms, 95 % in {latency['p95_ms']} ms")
    return {
        "events_per_second": round(rate, 1),
        "forecast_latency_p50_ms": latency["p50_ms"],
        "forecast_latency_p95_ms": latency["p95_ms"],
    }


def _closed(story: Story, playback: Playback, made: dict[str, Any]) -> dict[str, Any]:
    """The loop closes: what the functions find, decide, train, release and take back while the days pass."""
    playback.progress.quiet = True
    with story.phase("ordinary weeks"):
        checks = steps.ordinary(playback, ORDINARY_WEEKS)
    with story.phase("one sensor sticks"):
        isolated = steps.stuck(playback)
    playback.begin("drift, old model")
    with story.phase("a new source of pollution, and all humidity sensors recalibrated: check, job, gate"):
        found = steps.drift(playback)
    with story.phase("the new model climbs: shadow, canary, champion"):
        promoted = steps.climb(playback, found["version"])
    playback.begin("drift, new model")
    with story.phase("a job with a bad model"):
        playback.go(6)
        refused = steps.refused(playback)
    playback.begin("sabotaged model")
    with story.phase("a sabotaged model, put in place by hand"):
        sabotaged = steps.rolled_back(playback)
    playback.begin("taken back")
    with story.phase("and on it goes"):
        playback.go(5)
    return {
        "checks": checks,
        "quarantined": isolated,
        "drift_found": found["found"],
        "jobs": [made["job"], *found["jobs"]],
        "promoted_version": promoted,
        "refused": refused,
        "rolled_back": sabotaged,
    }
