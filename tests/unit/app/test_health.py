"""What the application says of itself, and how long forecasts took."""

from __future__ import annotations

import json

import pytest

from shared.app import health
from shared.app.route.messages import RoutePartition, RoutingContext
from shared.app.score.latencies import KEPT, Latencies
from shared.app.score.partition import Partition
from shared.core.stream.events import Event
from shared.core.stream.packing import pack
from tests.kit import HOUR, SCENARIO, Bench, deploy, hourly, readings


def worker(bench: Bench, hours: int = 20) -> Partition:
    found = bench.worker()
    bench.send("file/x@1", hourly("ab", hours))
    found.take(bench.events())
    return found


def test_before_anything_happened_it_says_so() -> None:
    bench = Bench()
    fresh = bench.worker()
    told = health.health(fresh.context, {0: fresh}, {})
    assert told["champion"] is None
    assert (told["partitions"], told["routes"], told["refused"]) == ({}, {}, {})
    assert told["quality"] == {"matured": 0}
    assert told["latency"] == {}
    json.dumps(told)


def test_a_damaged_drift_report_is_said_and_hides_nothing_else() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    one = worker(bench)
    bench.blobs.write(*health.NEWEST, b"{")
    told = health.health(one.context, {3: one}, {})
    assert told["drift"] == {"problem": "reports/drift/newest.json: Input data was truncated"}
    assert (told["champion"], told["partitions"][3]["applied"]) == ("v1", 40)


def test_it_tells_who_serves_how_far_partitions_are_and_how_good_forecasts_were() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    one = worker(bench)
    told = health.health(one.context, {3: one}, {})
    assert told["champion"] == "v1"
    counts = {"epoch": 0, "next": 1, "devices": 2, "applied": 40, "forecasts": 40, "first_forecasts": 0, "dropped": 0}
    assert told["partitions"] == {3: counts}
    quality = told["quality"]
    assert quality["matured"] > 0
    assert quality["rmse"] >= quality["mae"] > 0
    assert 0 <= quality["coverage"] <= 1
    json.dumps(told)


def test_errors_are_those_of_the_forecasts_users_saw() -> None:
    """The champion's squared errors over its matured forecasts, recomputed from the forecasts and the readings."""
    bench = Bench()
    deploy(bench.blobs, "v1", challenger="v2")
    one = worker(bench)
    found = health.health(one.context, {0: one}, {})["quality"]
    truth = {(device, minute // 60): values[0] for _, device, minute, values in hourly("ab", 20)}
    errors = [
        abs(value - truth[device, as_of + SCENARIO.horizon])
        for (device, as_of, _), (value, _) in bench.forecasts().items()
        if as_of + SCENARIO.horizon + SCENARIO.lateness < HOUR + 19
    ]
    assert found["matured"] in (len(errors), len(errors) + 2), "the newest hour may or may not be over"
    if found["matured"] == len(errors):
        assert found["mae"] == pytest.approx(sum(errors) / len(errors), abs=0.01)


def test_a_refused_model_is_told_with_its_reason() -> None:
    bench = Bench()
    deploy(bench.blobs, "v1")
    one = worker(bench)
    bench.blobs.write("models", "deployment.json", b'{"champion": "missing"}')
    bench.clock.s += 1000
    told = health.health(one.context, {0: one}, {})
    assert list(told["refused"]) == ["missing"]
    json.dumps(told)


def test_routes_tell_their_progress() -> None:
    bench = Bench()
    context = RoutingContext(scenario=SCENARIO, blobs=bench.blobs, devices=bench.stream, readings=bench.stream)
    route = RoutePartition(1, context)
    one = bench.worker()
    assert health.health(one.context, {}, {1: route})["routes"] == {1: {}}
    route.take([Event(0, (HOUR + 1) * 3_600_000, b"garbage")])
    told = health.health(one.context, {}, {1: route})["routes"][1]
    assert (told["next"], told["rejected"]) == (1, {"not_json": 1})


def test_latency_runs_from_the_message_to_the_commit() -> None:
    bench = Bench()
    one = bench.worker()
    bodies = list(pack("hub/0.0", SCENARIO.channel_names, readings(hourly("ab", 2)), bench.clock.ms - 250))
    bench.stream.send(0, bodies)
    one.take(bench.events())
    assert health.health(one.context, {0: one}, {})["latency"] == {"events": 1, "p50_ms": 250, "p95_ms": 250}
    bench.clock.ms += 61_000
    assert health.health(one.context, {0: one}, {})["latency"] == {}
    assert health.health(one.context, {0: one}, {}, 120.0)["latency"]["events"] == 1


def test_latencies_are_bounded_and_the_newest_stay() -> None:
    found = Latencies()
    found.add(1_000_000, range(KEPT))
    found.add(2_000_000, [1_999_000] * KEPT)
    assert found.summary(0) == {"events": KEPT, "p50_ms": 1000, "p95_ms": 1000}


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21])
def test_percentiles_are_values_that_occurred(count: int) -> None:
    found = Latencies()
    found.add(1000, range(1000 - count, 1000))
    told = found.summary(0)
    assert told["events"] == count
    assert 1 <= told["p50_ms"] <= told["p95_ms"] <= count
