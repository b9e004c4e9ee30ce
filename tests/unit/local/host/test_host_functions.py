"""Indexing of a function app by the local host, retry policies, settings and HTTP route templates."""

import json
import re
from pathlib import Path
from typing import Any, List  # noqa: UP035 - the worker does not index list[...]

import azure.functions as func
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.functions import Declared, HostError, connection, declare, resolve, where
from local.host.http.foreign import is_foreign
from local.host.http.routes import route_pattern, routes
from local.host.retry import Retry, span_s
from local.host.settings import apply_settings, read_host_json
from tests import ROOT


def hub_app(call: Any, **changes: Any) -> list[Any]:
    app = func.FunctionApp()
    binding = {"arg_name": "events", "connection": "HUBS", "event_hub_name": "%HUB%"}
    binding |= {"cardinality": "many", "data_type": "binary"} | changes
    app.event_hub_message_trigger(**binding)(call)
    return list(app.get_functions())


def many(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
    """Takes a batch."""


def builtin_list(events: list[func.EventHubEvent]) -> None:
    """An annotation that fails indexing in Azure."""


def other_name(batch: List[func.EventHubEvent]) -> None:  # noqa: UP006
    """Lacks the parameter of its trigger."""


def test_a_trigger_is_declared_with_its_binding() -> None:
    (found,) = declare(hub_app(many))
    assert (found.name, found.kind, found.argument) == ("many", "eventHubTrigger", "events")
    assert found.binding["eventHubName"] == "%HUB%"
    assert (found.retry, found.is_async, found.returns) == (None, False, False)


@pytest.mark.parametrize(
    ("call", "changes", "says"),
    [
        (many, {"cardinality": "one"}, "cardinality"),
        (many, {"data_type": None}, "data_type"),
        (many, {"data_type": "string"}, "data_type"),
        (builtin_list, {}, "fails indexing"),
        (other_name, {}, "no parameter events"),
    ],
)
def test_what_would_fail_in_azure_is_refused_here(call: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(HostError, match=says):
        declare(hub_app(call, **changes))


def test_every_function_that_cannot_run_is_named_at_once() -> None:
    app = func.FunctionApp()

    @app.queue_trigger(arg_name="message", queue_name="q", connection="C")
    def queued(message: func.QueueMessage) -> None: ...

    @app.timer_trigger(arg_name="timer", schedule="0 0 * * * *")
    @app.blob_output(arg_name="out", path="a/b", connection="C")
    def writing(timer: func.TimerRequest, out: func.Out[str]) -> None: ...

    with pytest.raises(HostError, match=r"(?s)queueTrigger is not supported.*binding blob is not supported"):
        declare(list(app.get_functions()))


def test_settings_are_put_into_names() -> None:
    assert resolve("a-%X%-%Y%", {"X": "1", "Y": "2"}) == "a-1-2"
    with pytest.raises(HostError, match="Y"):
        resolve("%X%%Y%", {"X": "1", "Y": ""})


@pytest.mark.parametrize(
    ("name", "settings", "found"),
    [
        ("Storage", {"AzureWebJobsStorage": "host's"}, "host's"),
        ("AzureWebJobsStorage", {"AzureWebJobsStorage": "host's"}, "host's"),
        ("STORAGE", {"STORAGE": "ours", "AzureWebJobsStorage": "host's"}, "host's"),
        ("BLOBS", {"BLOBS": "ours", "AzureWebJobsStorage": "host's"}, "ours"),
        ("BLOBS", {"BLOBS": "ours", "BLOBS__blobServiceUri": "http://x", "AzureWebJobsBLOBS": ""}, "ours"),
        ("BLOBS", {"BLOBS": "ours", "ConnectionStrings__BLOBS": "list's"}, "list's"),
        ("BLOBS", {"ConnectionStrings__BLOBS": "list's", "azurewebjobsblobs": "host's"}, "host's"),
    ],
)
def test_a_connection_is_looked_up_in_the_hosts_own_order(name: str, settings: dict[str, str], found: str) -> None:
    assert connection(name, settings) == found


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "HUBS is missing"),
        ({"HUBS": ""}, "HUBS is missing"),
        ({"HUBSX__a": "x"}, "HUBS is missing"),
        ({"HUBS__fullyQualifiedNamespace": "x"}, "HUBS names an identity"),
        ({"HUBS": "ours", "AzureWebJobsHUBS__fullyQualifiedNamespace": "x"}, "HUBS names an identity"),
    ],
)
def test_a_connection_that_is_no_connection_string_is_told(settings: dict[str, str], told: str) -> None:
    with pytest.raises(HostError, match=told):
        connection("HUBS", settings)


def test_no_connection_of_the_app_is_taken_for_one_of_the_hosts_own() -> None:
    template: dict[str, str] = json.loads((ROOT / "local.settings.json.template").read_text("utf-8"))["Values"]
    listed = json.loads((ROOT / "tests/golden/functions.json").read_text("utf-8"))
    named = set(re.findall(r'"connection": "(\w+)"', json.dumps(listed)))
    assert named == {"BLOBS", "READINGS", "TELEMETRY"}
    hosts = dict.fromkeys(("AzureWebJobsStorage", "AzureWebJobsDashboard", "AzureWebJobsSecretStorageType"), "host's")
    for name in named:
        assert connection(name, {**template, **hosts}) == template[name]


@pytest.mark.parametrize(
    ("host", "origin", "foreign"),
    [
        ("127.0.0.1:7071", None, False),
        ("localhost:7071", None, False),
        ("localhost", "http://localhost", False),
        ("[::1]:7071", "http://[::1]:7071", False),
        ("LOCALHOST:7071", "http://localhost:7071", False),
        ("127.0.0.1:7071", "http://localhost:7071", True),
        ("127.0.0.1:7071", "http://127.0.0.1:7072", True),
        ("127.0.0.1:7071", "https://127.0.0.1:7071", True),
        ("127.0.0.1:7071", "http://127.0.0.1:7071.page.example", True),
        ("127.0.0.1:7071", "null", True),
        ("127.0.0.1:7071", "", True),
        ("page.example:7071", None, True),
        ("page.example:7071", "http://page.example:7071", True),
        ("127.0.0.1.page.example", None, True),
        ("page.example@127.0.0.1:7071", "http://page.example", True),
        ("[::1", None, True),
        ("", None, True),
    ],
)
def test_only_requests_of_this_machine_and_of_pages_it_served_are_its_own(
    host: str, origin: str | None, foreign: bool
) -> None:
    assert is_foreign(host, origin) is foreign


def test_the_environment_wins_over_the_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text('{"Values": {"A": "file", "B": "file"}}', "utf-8")
    environment = {"A": "environment"}
    apply_settings(file, environment)
    assert environment == {"A": "environment", "B": "file"}


@pytest.mark.parametrize("text", ["", "[]", '{"Values": {"A": 1}}'])
def test_a_settings_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text, "utf-8")
    with pytest.raises(HostError):
        apply_settings(file, {})


def test_an_absent_host_json_is_empty_and_a_broken_one_is_told(tmp_path: Path) -> None:
    assert read_host_json(tmp_path) == {}
    (tmp_path / "host.json").write_text("{", "utf-8")
    with pytest.raises(HostError, match=r"host\.json"):
        read_host_json(tmp_path)


def test_an_error_is_told_in_one_line_with_its_place() -> None:
    try:
        int("x\ny")
    except ValueError as error:
        said = where(error)
    assert said.startswith("ValueError: invalid literal")
    assert "test_host_functions.py:" in said
    assert "\n" not in said


@given(failures=st.integers(1, 10_000), limit=st.integers(-1, 5))
def test_retry_delays_stay_within_their_bounds(failures: int, limit: int) -> None:
    retry = Retry(limit=limit, minimum_s=2.0, maximum_s=60.0)
    assert 1.6 <= retry.delay_s(failures) <= 60.0
    assert retry.allows(failures) == (limit == -1 or failures <= limit)


def test_retry_policies_are_read_from_their_decorator() -> None:
    fixed = {"strategy": "fixed_delay", "max_retry_count": "3", "delay_interval": "00:00:10"}
    assert Retry.from_settings(fixed) == Retry(limit=3, minimum_s=10.0, maximum_s=10.0)
    assert Retry.from_settings(fixed).delay_s(3) == 10.0
    growing = {"strategy": "exponential_backoff", "max_retry_count": "-1"}
    growing |= {"minimum_interval": "00:00:02", "maximum_interval": "00:01:00"}
    assert Retry.from_settings(growing) == Retry(limit=-1, minimum_s=2.0, maximum_s=60.0)
    with pytest.raises(ValueError, match="time span"):
        span_s("ten seconds")


@pytest.mark.parametrize(
    ("template", "path", "found"),
    [
        ("health", "HEALTH", {}),
        ("health", "health/x", None),
        ("models/{version}/promote", "models/v1/promote", {"version": "v1"}),
        ("models/{version}/promote", "models//promote", None),
        ("models/{version}/promote", "models/a/b/promote", None),
        ("files/{*rest}", "files/a/b.csv", {"rest": "a/b.csv"}),
        ("files/{*rest}", "files", {"rest": None}),
        ("n/{id:int}", "n/12", {"id": "12"}),
        ("n/{id:int}", "n/12a", None),
        ("n/{id?}", "n", {"id": None}),
        ("a.b", "axb", None),
    ],
)
def test_route_templates(template: str, path: str, found: dict[str, Any] | None) -> None:
    match = route_pattern(template).fullmatch(path)
    assert (match.groupdict() if match else None) == found


def test_the_more_literal_route_is_tried_first() -> None:
    def route(template: str) -> Declared:
        return Declared(
            name=template,
            kind="httpTrigger",
            binding={"route": template},
            call=lambda: None,
            argument="req",
            is_async=False,
            wants_context=False,
            returns=True,
            retry=None,
        )

    found = routes([route("{name}"), route("jobs/{name}"), route("jobs/latest")])
    assert [each.function.name for each in found] == ["jobs/latest", "jobs/{name}", "{name}"]
