"""The loop as production wires it, on stores in memory."""

from __future__ import annotations

import msgspec
import pytest

from shared.app.loop.results import Result
from shared.errors import ConfigError
from tests.kit import InMemory


def test_a_wired_loop_sees_what_jobs_leave_and_waits_once_for_all_that_was_refused() -> None:
    app = InMemory()
    loop = app.application.loop
    told = Result(job="small-000001", version="v2", run_id="", dataset="", trained_until=0, parity=0.0, finished_ms=10)
    app.blobs.write("models", "jobs/small-000001.json", msgspec.json.encode(told))
    assert loop.retraining.left("small-000001", 10)
    assert not loop.retraining.left("small-000002", 10)
    backoff = loop.completion.backoff
    backoff.failed("job", ConfigError("no"))
    assert [each.due("job") for each in (loop.completion.packs.backoff, loop.rollouts.tags.backoff)] == [False, False]


@pytest.mark.parametrize("kind", [5, ["x"], None, {"a": {}}])
def test_an_event_of_any_form_is_left_alone(kind: object) -> None:
    loop = InMemory().application.loop
    assert not loop.job_event(kind, kind, kind)
