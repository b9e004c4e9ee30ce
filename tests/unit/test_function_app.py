"""The map of the application: what importing it costs, which triggers there are, and what they do when set up wrongly.

`python -m tests.unit.test_function_app` rewrites tests/golden/functions.json, the reviewed list of triggers.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from types import ModuleType, SimpleNamespace
from typing import Any, TypeAlias

import azure.functions as func
import pytest
from azure.functions import meta
from azure.functions.eventhub import EventHubTriggerConverter

from local.host.eventhub.events import single
from shared.adapters.jobs.none import NoEndpoint
from shared.adapters.models.azureml_endpoint import AzureMlEndpoint
from shared.app.reports.page import TEMPLATES
from shared.core.intake.envelopes.told import Told
from shared.core.stream.events import Event
from shared.errors import ConfigError, ContractBroken, TransientFailure
from shared.settings import VARIABLES, Settings
from shared.wiring import Application, build
from shared.wiring.ports import connect
from tests import ROOT
from tests.kit import HandClock, MemoryBlobs, MemoryStream, assemble

GOLDEN = ROOT / "tests" / "golden" / "functions.json"
HEAVY = (
    "pandas",
    "jinja2",
    "mlflow",
    "catboost",
    "scipy",
    "pyarrow",
    "azure.ai.ml",
    "azure.storage.blob",
    "azure.eventhub",
    "azure.identity",
    "sklearn",
    "optuna",
    "onnx",
    "training",
    "local",
)
PROBE = """
import json, sys
from function_app import app
loaded = sorted(sys.modules)
functions = {
    found.get_function_name(): {
        "bindings": json.loads(found.get_function_json())["bindings"],
        "retry": found.get_settings_dict("retry_policy"),
    }
    for found in app.get_functions()
}
print(json.dumps({"loaded": loaded, "functions": functions}, default=str))
"""


def imported(env: dict[str, str]) -> dict[str, Any]:
    """What importing function_app in a new process with exactly this environment gives."""
    command = [sys.executable, "-W", "error", "-c", PROBE]
    found = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=60, check=False)  # noqa: S603
    assert found.returncode == 0, found.stderr.decode()
    told: dict[str, Any] = json.loads(found.stdout)
    return told


@pytest.fixture(scope="module")
def empty() -> dict[str, Any]:
    return imported({})


def plain(functions: dict[str, Any]) -> str:
    """Triggers as reviewed: names, bindings and retry policies."""
    return json.dumps(functions, indent=2, sort_keys=True) + "\n"


def test_importing_the_application_loads_nothing_heavy(empty: dict[str, Any]) -> None:
    found = [name for name in empty["loaded"] if name.startswith(HEAVY)]
    heavy = {name for name in found if any(name == module or name.startswith(f"{module}.") for module in HEAVY)}
    assert not heavy
    assert "onnxruntime" in empty["loaded"]


def test_all_triggers_are_found_in_an_empty_environment(empty: dict[str, Any]) -> None:
    assert plain(empty["functions"]) == GOLDEN.read_text("utf-8")


def test_the_golden_list_holds_what_the_design_asks_for(empty: dict[str, Any]) -> None:
    triggers = {name: found["bindings"][0] for name, found in empty["functions"].items()}
    assert triggers["route_file"]["type"] == "blobTrigger"
    assert triggers["sweep_files"]["type"] == "timerTrigger"
    assert triggers["health"]["type"] == "httpTrigger"
    for name in ("route_events", "score_readings"):
        assert (triggers[name]["type"], triggers[name]["cardinality"]) == ("eventHubTrigger", "MANY")
        retry = empty["functions"][name]["retry"]
        assert retry["max_retry_count"] == "-1", "a partition stalls visibly rather than loses"
        assert retry["maximum_interval"] == "00:01:00"


def test_the_blob_trigger_takes_its_source_from_the_environment() -> None:
    told = imported({"INCOMING_SOURCE": "LogsAndContainerScan"})
    assert told["functions"]["route_file"]["bindings"][0]["source"] == "LogsAndContainerScan"


WRONG = {
    "SCENARIO": "x",
    "BLOBS": "nonsense",
    "READINGS": "nonsense",
    "READINGS_HUB": "?",
    "INCOMING_SOURCE": "?",
    "BATCH_ROWS": "many",
}


def of_the_project(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The project's module, whatever app of that name another test has loaded."""
    monkeypatch.delitem(sys.modules, "function_app", raising=False)
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("function_app")


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The application as the worker imports it, in a wrong environment."""
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    return of_the_project(monkeypatch)


def call(app: ModuleType, name: str, *arguments: object) -> Any:
    """Call a function as the worker does."""
    return getattr(app, name)._function.get_user_function()(*arguments)


def request(**params: str) -> func.HttpRequest:
    return func.HttpRequest(method="GET", url="/", params=params, route_params=params, headers={}, body=b"")


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("route_file", lambda: SimpleNamespace(name="incoming/a.csv")),
        ("route_events", lambda: converted([b"{}"])),
        ("score_readings", lambda: converted([b""])),
        ("sweep_files", lambda: None),
        ("compact_lake", lambda: None),
        ("check_drift", lambda: None),
        ("advance_rollout", lambda: None),
        ("watch_jobs", lambda: None),
        ("job_events", lambda: SimpleNamespace(event_type="t", topic="t", get_json=dict)),
        ("retrain", request),
        ("rollout", lambda: request(action="promote")),
        ("replay", request),
    ],
)
def test_every_trigger_fails_with_all_that_is_wrong(
    wrong: ModuleType, name: str, argument: Callable[[], object]
) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError) as told:
            call(wrong, name, argument())
        assert {key for key in WRONG if f"{key}: " in str(told.value)} == WRONG.keys()


def test_the_health_route_says_what_is_wrong(wrong: ModuleType) -> None:
    answer = call(wrong, "health", request())
    assert answer.status_code == 503
    said = json.loads(answer.get_body())["error"]
    assert {key for key in WRONG if f"{key}: " in said} == WRONG.keys()


def test_the_route_of_forecasts_says_what_is_wrong_as_problem_details(wrong: ModuleType) -> None:
    answer = call(wrong, "forecasts", request(device="a"))
    assert (answer.status_code, answer.mimetype) == (400, "application/problem+json")
    answer = call(wrong, "forecasts", func.HttpRequest("GET", "/", params={}, route_params={"device": "a"}, body=b""))
    assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
    said = json.loads(answer.get_body())["detail"]
    assert {key for key in WRONG if f"{key}: " in said} == WRONG.keys()


def test_every_trigger_is_covered_by_the_tests_of_wrong_settings(empty: dict[str, Any]) -> None:
    marks = test_every_trigger_fails_with_all_that_is_wrong.pytestmark  # type: ignore[attr-defined]
    tested = {name for name, _ in marks[0].args[1]} | {"health", "forecasts"}
    assert tested == empty["functions"].keys()


def test_the_application_is_built_without_network_and_once(environment: dict[str, str]) -> None:
    build(environment)
    application = stored(environment)
    assert application.score is application.score
    assert application.ports.task.scenario.name == "air_quality"


def stored(environment: Mapping[str, str]) -> Application:
    """The application that an environment means, on a store in memory."""
    return Application(lambda: replace(connect(environment), blobs=MemoryBlobs()))


AZUREML = {
    "JOBS": "azureml",
    "AZUREML_SUBSCRIPTION": "s",
    "AZUREML_RESOURCE_GROUP": "g",
    "AZUREML_WORKSPACE": "w",
    "AZUREML_COMPUTE": "c",
    "AZUREML_COMPONENT": "training:1",
    "AZUREML_ENDPOINT": "air",
    "AZUREML_ENDPOINT_ENVIRONMENT": "scoring:1",
}


@pytest.mark.parametrize(
    ("changes", "topic", "endpoint"),
    [
        ({"JOBS": "none"}, "local/air_quality", NoEndpoint),
        ({"JOBS": "local", "CLOCK": "watermark"}, "local/air_quality", NoEndpoint),
        (
            AZUREML,
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w",
            AzureMlEndpoint,
        ),
    ],
)
def test_the_loop_is_wired_by_the_settings(
    changes: dict[str, str], topic: str, endpoint: type, environment: dict[str, str]
) -> None:
    loop = stored({**environment, **changes}).loop
    assert (loop.topic, type(loop.endpoint)) == (topic, endpoint)
    assert loop.trains == (changes["JOBS"] != "none")
    assert loop.by_data == (changes.get("CLOCK") == "watermark")


def test_messages_without_a_hub_for_them_are_a_wrong_setting(environment: dict[str, str]) -> None:
    application = stored({name: value for name, value in environment.items() if name != "TELEMETRY"})
    for _ in range(2):
        with pytest.raises(ConfigError, match="TELEMETRY"):
            application.route_events(0, [])
    assert application.route_events.held == {}


def test_a_store_that_is_down_is_told_by_the_health_route_and_not_thrown() -> None:
    class Down(MemoryBlobs):
        def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:  # noqa: ARG002
            raise TransientFailure(f"blob store: {container}/{name}: ServiceRequestError")

    application = assemble(Settings(), Down(), MemoryStream(), HandClock())
    well, body = application.health("nan")
    assert not well
    assert body == {"error": "blob store: models/scenario.json: ServiceRequestError"}


@pytest.mark.parametrize("window", ["", "nan", "inf", "-5", "x", "1e999", "60"])
def test_the_health_route_takes_any_window(window: str) -> None:
    application = assemble(Settings(), MemoryBlobs(), MemoryStream(), HandClock())
    well, body = application.health(window)
    assert well
    assert body["champion"] is None
    json.loads(json.dumps(body), parse_constant=pytest.fail)


PLACE = {
    "FullyQualifiedNamespace": "x.servicebus.windows.net",
    "EventHubName": "readings",
    "ConsumerGroup": "$Default",
    "PartitionId": "3",
}
Properties: TypeAlias = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
TIMES = ["2026-11-20T10:15:00.25", "2026-11-20T10:15:01", "2026-11-20T10:15:01.999Z"]


def converted(
    bodies: list[bytes],
    place: object = PLACE,
    devices: list[str | None] | None = None,
    told: Properties = (),
) -> Any:
    """A batch as the library makes it of what the Functions host sends to the worker."""
    count = len(bodies)
    system: list[dict[str, Any]] = [
        {"SequenceNumber": 40 + n, "Offset": n, "PartitionKey": None, "EnqueuedTimeUtc": TIMES[n]} for n in range(count)
    ]
    for properties, device in zip(system, devices or [None] * count, strict=True):
        properties |= {} if device is None else {"iothub-connection-device-id": device}
    for properties, (more, _) in zip(system, told, strict=False):
        properties |= more
    metadata = {
        "PartitionContext": meta.Datum(json.dumps(place), "json"),
        "SequenceNumberArray": meta.Datum(SimpleNamespace(sint64=list(range(40, 40 + count))), "collection_sint64"),
        "OffsetArray": meta.Datum(SimpleNamespace(string=[str(n) for n in range(count)]), "collection_string"),
        "PartitionKeyArray": meta.Datum(SimpleNamespace(string=[]), "collection_string"),
        "EnqueuedTimeUtcArray": meta.Datum(json.dumps(TIMES[:count]), "json"),
        "PropertiesArray": meta.Datum(json.dumps([own for _, own in told] or [{}] * count), "json"),
        "SystemPropertiesArray": meta.Datum(json.dumps(system), "json"),
    }
    bodies_datum = meta.Datum(SimpleNamespace(bytes=bodies), "collection_bytes")
    return EventHubTriggerConverter.decode(bodies_datum, trigger_metadata=metadata)


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return of_the_project(monkeypatch)


def test_a_batch_is_unwrapped_to_its_partition_and_plain_events(app: ModuleType) -> None:
    events = converted([b"\x00\xff", b"", "ü".encode()], devices=["a/b", None, "ü"])
    partition, found = app.unwrap(events)
    at = int(dt.datetime(2026, 11, 20, 10, 15, tzinfo=dt.timezone.utc).timestamp() * 1000)
    assert partition == 3
    assert found == [
        Event(40, at + 250, b"\x00\xff", "a/b"),
        Event(41, at + 1000, b"", None),
        Event(42, at + 1999, "ü".encode(), "ü"),
    ]


def test_what_a_hub_tells_of_a_message_is_unwrapped_where_it_is_wanted(app: ModuleType) -> None:
    made = {"iothub-creation-time-utc": "2026-11-20T10:14:00Z"}
    told: Properties = [
        ({"content-encoding": "gzip"}, made),
        ({"iothub-message-source": "twinChangeEvents"}, {}),
        ({}, {"a": 1}),
    ]
    _, found = app.unwrap(converted([b"", b"x", b"y"], told=told), told=True)
    assert [event.told for event in found] == [
        Told(created="2026-11-20T10:14:00Z", encoding="gzip"),
        Told(telemetry=False),
        Told(),
    ]
    _, plain = app.unwrap(converted([b"", b"x", b"y"], told=told))
    assert {event.told for event in plain} == {Told()}


def test_the_devices_messages_are_routed_with_what_their_hub_tells(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []
    monkeypatch.setitem(vars(app.application), "route_events", lambda *batch: taken.append(batch))
    monkeypatch.setitem(vars(app.application), "score", lambda *batch: taken.append(batch))
    told: Properties = [({"iothub-message-source": "twinChangeEvents"}, {})]
    events = converted([b"x"], told=told)
    call(app, "route_events", events)
    call(app, "score_readings", events)
    assert [event.told.telemetry for _, (event,) in taken] == [False, True]


def test_times_are_utc_whatever_the_machine_thinks(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before = app.unwrap(converted([b"x"]))
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    try:
        assert app.unwrap(converted([b"x"])) == before
    finally:
        monkeypatch.undo()
        time.tzset()


def by_hand(body: bytes) -> Any:
    """The event that the host makes of a request to its admin endpoint."""
    made = single(body)
    return EventHubTriggerConverter.decode(made.data, trigger_metadata=made.metadata)


BARE: dict[str, Callable[[], Any]] = {
    "as the host makes it": lambda: by_hand(b"x"),
    "without metadata": lambda: [func.EventHubEvent(body=b"x")],
}


@pytest.mark.parametrize("how", BARE)
@pytest.mark.parametrize("name", ["route_events", "score_readings"])
def test_an_event_started_by_hand_is_dropped_and_not_retried_for_ever(
    how: str, name: str, app: ModuleType, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[object] = []
    monkeypatch.setitem(vars(app.application), "route_events", lambda *batch: taken.append(batch))
    monkeypatch.setitem(vars(app.application), "score", lambda *batch: taken.append(batch))
    call(app, name, BARE[how]())
    assert not taken
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "started by hand" in caplog.text
    call(app, name, converted([b"x"]))
    assert len(taken) == 1


def test_events_of_a_hub_are_never_taken_for_one_started_by_hand(app: ModuleType) -> None:
    """Dropping them would lose them, since the checkpoint moves on."""
    for bodies in ([b"x"], [b"x", b"y"]):
        with pytest.raises(ContractBroken, match="events of its hub only"):
            app.unwrap(converted(bodies, place=None))
    with pytest.raises(ContractBroken, match="events of its hub only"):
        app.unwrap([*by_hand(b"x"), *by_hand(b"y")])
    first = converted([b"x"], place=None)[0]
    zero = func.EventHubEvent(body=b"x", sequence_number=0, enqueued_time=first.enqueued_time)
    with pytest.raises(ContractBroken, match="events of its hub only"):
        app.unwrap([zero])
    bare = func.EventHubEvent(body=b"x", trigger_metadata={"PartitionContext": meta.Datum(json.dumps(PLACE), "json")})
    with pytest.raises(ContractBroken, match="without sequence number"):
        app.unwrap([bare])


def test_a_dropped_files_name_is_what_stands_behind_the_container(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    routed: list[str] = []
    monkeypatch.setitem(vars(app.application), "route_file", routed.append)
    for name in ("incoming/a.csv", "incoming/b/incoming/c d?.csv"):
        call(app, "route_file", SimpleNamespace(name=name))
    assert routed == ["a.csv", "b/incoming/c d?.csv"]


def test_the_modules_of_the_application_stand_in_the_deployed_package() -> None:
    ignored = (ROOT / ".funcignore").read_text("utf-8").split()
    assert not {"shared", "scenarios", "function_app.py", "host.json", "requirements.txt"} & set(ignored)
    assert {"tests", "local", "training"} <= {name.strip("/") for name in ignored}
    assert (ROOT / "requirements.txt").exists()
    for path in TEMPLATES.iterdir():
        assert not any(fnmatch(path.name, pattern) for pattern in ignored), path.name


if __name__ == "__main__":
    GOLDEN.write_text(plain(imported({})["functions"]), "utf-8")
