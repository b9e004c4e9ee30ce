"""What the local host makes of an indexed function app, retry policies, settings and HTTP route templates."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.host.functions import Declared, HostError, Indexed, connection, declare, resolve
from local.host.http.foreign import is_foreign
from local.host.http.routes import route_pattern, routes
from local.host.retry import Retry, span_s
from local.host.settings import apply_settings, read_host_json
from local.host.worker.protos import RpcRetryOptions
from local.host.worker.where import where
from shared.errors import ConfigError
from tests import ROOT


def indexed(name: str, kind: str = "timerTrigger") -> Indexed:
    return Indexed(name, [{"type": "blob", "name": "out"}, {"type": kind, "name": "timer"}], None)


def test_a_trigger_is_found_among_the_bindings_and_what_is_missing_is_named() -> None:
    first, second = declare([indexed("first"), indexed("second", "queueTrigger")])
    assert (first.name, first.kind, first.binding["name"]) == ("first", "timerTrigger", "timer")
    assert "binding blob is not supported" in (first.missing or "")
    assert "trigger queueTrigger is not supported" in (second.missing or "")


def test_two_functions_of_one_name_are_refused_whatever_their_capitals() -> None:
    with pytest.raises(HostError, match="two functions have the name work"):
        declare([indexed("Work"), indexed("work")])


def test_settings_are_put_into_names() -> None:
    assert resolve("a-%X%-%y%", {"X": "1", "Y": "2"}) == "a-1-2"
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


def test_an_error_is_told_to_its_end_where_the_way_out_stands() -> None:
    assert "the way out" in where(ConfigError("x" * 900 + " the way out"))
    assert len(where(ConfigError("x" * 100_000))) < 3_000


@given(failures=st.integers(1, 10_000), limit=st.integers(-1, 5))
def test_retry_delays_stay_within_their_bounds(failures: int, limit: int) -> None:
    retry = Retry(limit=limit, minimum_s=2.0, maximum_s=60.0)
    assert 1.6 <= retry.delay_s(failures) <= 60.0
    assert retry.allows(failures) == (limit == -1 or failures <= limit)


def test_retry_policies_are_read_as_the_worker_tells_them() -> None:
    ten = timedelta(seconds=10)
    fixed = Retry.of(RpcRetryOptions(max_retry_count=3, retry_strategy="fixed_delay", delay_interval=ten))
    assert fixed == Retry(limit=3, minimum_s=10.0, maximum_s=10.0)
    assert fixed.delay_s(3) == 10.0
    options = {"minimum_interval": timedelta(seconds=2), "maximum_interval": timedelta(minutes=1)}
    growing = RpcRetryOptions(max_retry_count=-1, retry_strategy="exponential_backoff", **options)
    assert Retry.of(growing) == Retry(limit=-1, minimum_s=2.0, maximum_s=60.0)
    with pytest.raises(ValueError, match="time span"):
        span_s("ten seconds")


@pytest.mark.parametrize(("strategy", "limit"), [("fixedDelay", 1), ("fixed_delay", 2**31)])
def test_a_policy_that_no_message_can_hold_is_refused(strategy: str, limit: int) -> None:
    with pytest.raises(ValueError, match=rf"{strategy}|{limit}"):
        RpcRetryOptions(max_retry_count=limit, retry_strategy=strategy)


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
        )

    found = routes([route("{name}"), route("jobs/{name}"), route("jobs/latest")])
    assert [each.function.name for each in found] == ["jobs/latest", "jobs/{name}", "{name}"]
