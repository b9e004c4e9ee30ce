"""Settings: what is accepted, every problem at once, no secret in a message, and the README's table."""

from __future__ import annotations

import dataclasses
import re
from typing import get_args

import pytest

from shared.adapters.stores import scenario_files
from shared.errors import ConfigError
from shared.settings import VARIABLES, Settings, from_env, incoming_source
from shared.validation import convert, hints
from tests import ROOT

SCENARIOS = ["air_quality", "noise"]
HUB = "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=c2VjcmV0"
STORE = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0"
AZURE = {
    "BLOBS__blobServiceUri": "https://name.blob.core.windows.net",
    "BLOBS__queueServiceUri": "https://name.queue.core.windows.net",
    "READINGS__fullyQualifiedNamespace": "name.servicebus.windows.net",
}
CLIENT = "00000000-0000-4000-8000-00000000abcd"
LOCAL = {"BLOBS": "UseDevelopmentStorage=true", "READINGS": HUB}


@pytest.mark.parametrize(
    "env", [AZURE, LOCAL, {**AZURE, **LOCAL}, {**AZURE, "BLOBS__blobServiceUri": "http://10.0.0.1:10000/account"}]
)
def test_a_store_and_a_hub_are_enough(env: dict[str, str]) -> None:
    found = from_env(env, SCENARIOS)
    assert (found.scenario, found.readings_hub, found.incoming_source) == ("air_quality", "readings", "EventGrid")
    assert found.blobs == env.get("BLOBS")
    assert found.blobs_url == env.get("BLOBS__blobServiceUri")
    assert found.telemetry is None


def test_every_variable_reaches_its_setting() -> None:
    env = {
        **AZURE,
        **LOCAL,
        "SCENARIO": " noise ",
        **{f"{name}__credential": "ManagedIdentity" for name in ("BLOBS", "READINGS", "TELEMETRY")},
        **{f"{name}__clientId": CLIENT for name in ("BLOBS", "READINGS", "TELEMETRY")},
        "READINGS_HUB": "other",
        "TELEMETRY": HUB,
        "TELEMETRY__fullyQualifiedNamespace": "iothub-ns.servicebus.windows.net",
        "TELEMETRY_HUB": "devices",
        "TELEMETRY_GROUP": "airloop",
        "LOOKUP_GROUP": "beside",
        "INCOMING_SOURCE": "LogsAndContainerScan",
        "MODEL_REFRESH_S": "2.5",
        "SNAPSHOT_COMMITS": "7",
        "PROFILE_S": "0.5",
        "BATCH_ROWS": "8",
        "CHUNK_ROWS": "9",
        "FILE_MB": "11",
        "FILE_RATIO": "12",
        "FILE_DISK_MB": "13",
        "FILE_READER_MB": "414",
        "FILE_READER_S": "15",
        "FILE_LETTERS": "8",
        "MODEL_MB": "416",
        "MODEL_S": "17",
        "LAKE_RETAIN_DAYS": "30.0",
        "CLOCK": "watermark",
        "JOBS": "azureml",
        "JOBS_FOLDER": "/jobs",
        "JOB_EVENTS_URL": "http://127.0.0.1:7071/x",
        "MLFLOW_TRACKING_URI": "sqlite:///m.db",
        "AZUREML_SUBSCRIPTION": "s",
        "AZUREML_RESOURCE_GROUP": "g",
        "AZUREML_WORKSPACE": "w",
        "AZUREML_COMPUTE": "c",
        "AZUREML_COMPONENT": "train:1",
        "AZUREML_ENDPOINT": "air-loop",
        "AZUREML_ENDPOINT_ENVIRONMENT": "scoring:1",
        "AZUREML_ENDPOINT_INSTANCE": "Standard_F2s_v2",
        "AZUREML_ENDPOINT_INSTANCES": "2",
    }
    assert env.keys() == set(VARIABLES.values())
    found = from_env(env, SCENARIOS)
    for name, variable in VARIABLES.items():
        assert str(getattr(found, name)) == env[variable].strip(), variable
        assert getattr(found, name) != getattr(Settings(), name), "the test must differ from the default"


def test_every_setting_has_a_variable_and_a_default_that_is_allowed() -> None:
    fields = dataclasses.fields(Settings)
    assert list(VARIABLES) == [field.name for field in fields]
    for field in fields:
        assert convert(field.default, hints(Settings)[field.name]) == field.default


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"SCENARIO": "nose"}, "SCENARIO: 'nose' is not one of air_quality, noise, nor a path to a .toml file"),
        (
            {"SCENARIO": "../../etc/passwd"},
            "SCENARIO: '../../etc/passwd' is not one of air_quality, noise, nor a path to a .toml file",
        ),
        ({"BLOBS": "c2VjcmV0"}, "BLOBS: is not the connection string of a storage account"),
        ({"BLOBS": "AccountKey=c2VjcmV0"}, "BLOBS: is not the connection string of a storage account"),
        ({"BLOBS__blobServiceUri": "name.blob"}, "BLOBS__blobServiceUri: 'name.blob' is not an address"),
        ({"BLOBS__queueServiceUri": "queue"}, "BLOBS__queueServiceUri: 'queue' is not an address"),
        (
            {"BLOBS__queueServiceUri": ""},
            "BLOBS__queueServiceUri: missing, the blob trigger needs it beside BLOBS__blobServiceUri",
        ),
        ({"BLOBS__credential": "workload"}, "BLOBS__credential: 'workload' is not managedidentity"),
        (
            {"BLOBS__credential": "managedidentity", "BLOBS__clientId": "name"},
            "BLOBS__clientId: 'name' is not the client id of an identity",
        ),
        (
            {"READINGS__clientId": CLIENT},
            "READINGS__clientId: the host heeds it only beside READINGS__credential=managedidentity",
        ),
        ({"READINGS": STORE}, "READINGS: is not the connection string of a namespace"),
        (
            {"READINGS": "Endpoint=sb://x/;SharedAccessKey=c2VjcmV0"},
            "READINGS: is not the connection string of a namespace",
        ),
        (
            {"READINGS__fullyQualifiedNamespace": "sb://name.servicebus.windows.net/"},
            "READINGS__fullyQualifiedNamespace: 'sb://name.servicebus.windows.net/' is not of the form name.domain",
        ),
        ({"READINGS_HUB": "a b"}, "READINGS_HUB: 'a b' is not the name of a hub"),
        ({"TELEMETRY": "c2VjcmV0"}, "TELEMETRY: is not the connection string of a namespace"),
        (
            {"TELEMETRY__fullyQualifiedNamespace": "nodomain"},
            "TELEMETRY__fullyQualifiedNamespace: 'nodomain' is not of the form name.domain",
        ),
        ({"TELEMETRY_HUB": "/"}, "TELEMETRY_HUB: '/' is not the name of a hub"),
        (
            {"LOOKUP_GROUP": "$Default", "TELEMETRY_GROUP": "airloop"},
            "LOOKUP_GROUP: '$Default' is the group of a trigger, which has it for itself",
        ),
        (
            {"LOOKUP_GROUP": "airloop", "TELEMETRY_GROUP": "AirLoop"},
            "LOOKUP_GROUP: 'airloop' is the group of a trigger, which has it for itself",
        ),
        ({"TELEMETRY_GROUP": "$default"}, "TELEMETRY_GROUP: '$default' is not the name of a consumer group"),
        (
            {"INCOMING_SOURCE": "eventgrid"},
            "INCOMING_SOURCE: 'eventgrid' is not one of EventGrid, LogsAndContainerScan",
        ),
        ({"MODEL_REFRESH_S": "soon"}, "MODEL_REFRESH_S: 'soon' is not a finite number"),
        ({"MODEL_REFRESH_S": "nan"}, "MODEL_REFRESH_S: 'nan' is outside 0 to 30"),
        ({"MODEL_REFRESH_S": "30.1"}, "MODEL_REFRESH_S: '30.1' is outside 0 to 30"),
        ({"MODEL_REFRESH_S": "-1"}, "MODEL_REFRESH_S: '-1' is outside 0 to 30"),
        ({"SNAPSHOT_COMMITS": "1.5"}, "SNAPSHOT_COMMITS: '1.5' is not a whole number"),
        ({"SNAPSHOT_COMMITS": "0"}, "SNAPSHOT_COMMITS: '0' is outside 1 to 10000"),
        ({"BATCH_ROWS": "0"}, "BATCH_ROWS: '0' is outside 1 to 500000"),
        ({"CHUNK_ROWS": "999999"}, "CHUNK_ROWS: '999999' is outside 1 to 500000"),
        ({"CHUNK_ROWS": "1e4"}, "CHUNK_ROWS: '1e4' is not a whole number"),
        ({"LAKE_RETAIN_DAYS": "-1"}, "LAKE_RETAIN_DAYS: '-1' is outside 0 to 3650"),
        ({"CLOCK": "sun"}, "CLOCK: 'sun' is not one of wall, watermark"),
        ({"JOBS": "batch"}, "JOBS: 'batch' is not one of none, local, azureml"),
        ({"JOB_EVENTS_URL": "file:///etc"}, "JOB_EVENTS_URL: is not an http address"),
        ({"AZUREML_COMPONENT": "train"}, "AZUREML_COMPONENT: 'train' is not of the form name:version"),
        (
            {
                "AZUREML_ENDPOINT": "x",
                "MLFLOW_TRACKING_URI": "m",
                "AZUREML_SUBSCRIPTION": "s",
                "AZUREML_RESOURCE_GROUP": "g",
                "AZUREML_WORKSPACE": "w",
                "AZUREML_COMPONENT": "t:1",
                "AZUREML_ENDPOINT_ENVIRONMENT": "e:1",
            },
            "AZUREML_ENDPOINT: 'x' is not a letter and 2 to 31 letters, digits or -",
        ),
        (
            {"AZUREML_ENDPOINT": "air", "AZUREML_SUBSCRIPTION": "s", "AZUREML_RESOURCE_GROUP": "g"},
            "AZUREML_WORKSPACE, AZUREML_COMPONENT, AZUREML_ENDPOINT_ENVIRONMENT, MLFLOW_TRACKING_URI: missing, "
            "AZUREML_ENDPOINT needs it",
        ),
        (
            {"JOBS": "azureml", "AZUREML_WORKSPACE": "w", "AZUREML_COMPONENT": "t:1"},
            "AZUREML_SUBSCRIPTION, AZUREML_RESOURCE_GROUP, AZUREML_COMPUTE: missing, JOBS=azureml needs it",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as told:
        from_env({**AZURE, **change}, SCENARIOS)
    assert str(told.value) == f"settings: {problem}"


def test_all_problems_are_told_at_once_and_no_secret_with_them() -> None:
    env = {
        "SCENARIO": "x",
        "BLOBS": "AccountKey=c2VjcmV0",
        "READINGS": "SharedAccessKey=c2VjcmV0",
        "READINGS_HUB": "?",
        "TELEMETRY": "c2VjcmV0",
        "TELEMETRY_HUB": "?",
        "TELEMETRY_GROUP": "?",
        "INCOMING_SOURCE": "?",
        "MODEL_REFRESH_S": "?",
        "SNAPSHOT_COMMITS": "?",
        "PROFILE_S": "-1",
        "BATCH_ROWS": "-1",
        "CHUNK_ROWS": "?",
        "LAKE_RETAIN_DAYS": "?",
        "CLOCK": "?",
        "JOBS": "?",
        "JOB_EVENTS_URL": "?",
        "AZUREML_COMPONENT": "?",
        "AZUREML_ENDPOINT_ENVIRONMENT": "?",
        "AZUREML_ENDPOINT_INSTANCES": "?",
    }
    with pytest.raises(ConfigError) as told:
        from_env(env, SCENARIOS)
    problems = str(told.value).removeprefix("settings: ").split("; ")
    assert {problem.partition(":")[0] for problem in problems} == env.keys()
    assert "c2VjcmV0" not in str(told.value)


@pytest.mark.parametrize("env", [{}, dict.fromkeys(VARIABLES.values(), ""), dict.fromkeys(VARIABLES.values(), "  ")])
def test_nothing_set_or_everything_empty_names_what_is_missing(env: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as told:
        from_env(env, SCENARIOS)
    assert str(told.value) == (
        "settings: BLOBS__blobServiceUri (in Azure) or BLOBS (local) is missing; "
        "READINGS__fullyQualifiedNamespace (in Azure) or READINGS (local) is missing"
    )


@pytest.mark.parametrize(
    ("old", "told"),
    [
        ({"STORAGE": "UseDevelopmentStorage=true"}, "; found STORAGE, which is BLOBS now"),
        (
            {"STORAGE__blobServiceUri": "https://name.blob.core.windows.net"},
            "; found STORAGE__blobServiceUri, which is BLOBS__blobServiceUri now",
        ),
        ({"STORAGE": " "}, ""),
    ],
)
def test_a_setting_that_still_has_its_old_name_is_told_with_the_new_one(old: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_env({"READINGS": HUB, **old}, SCENARIOS)
    assert str(error.value) == f"settings: BLOBS__blobServiceUri (in Azure) or BLOBS (local) is missing{told}"
    assert from_env({**LOCAL, **old}, SCENARIOS).blobs == LOCAL["BLOBS"], "both names are there while an app is moved"


@pytest.mark.parametrize(
    ("env", "source"),
    [
        ({}, "EventGrid"),
        ({"INCOMING_SOURCE": " LogsAndContainerScan "}, "LogsAndContainerScan"),
        ({"INCOMING_SOURCE": "nonsense"}, "EventGrid"),
    ],
)
def test_the_source_of_the_blob_trigger_is_known_before_anything_is_checked(env: dict[str, str], source: str) -> None:
    assert incoming_source(env) == source
    assert source in get_args(hints(Settings)["incoming_source"])


def test_the_template_is_complete(environment: dict[str, str]) -> None:
    found = from_env(environment, scenario_files.names())
    assert found.incoming_source == "LogsAndContainerScan"
    unknown = environment.keys() - set(VARIABLES.values())
    assert unknown == {"FUNCTIONS_WORKER_RUNTIME", "AzureWebJobsStorage", "ARROW_DEFAULT_MEMORY_POOL"}


def test_the_readme_lists_every_variable_with_its_default() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `([A-Za-z_]+)` \| (?:`([^`]*)`)? *\| (.+) \|$", text, re.MULTILINE)
    table = {name: default for name, default, _ in rows}
    expected = {VARIABLES[field.name]: field.default for field in dataclasses.fields(Settings)}
    assert table == {name: "" if default is None else str(default) for name, default in expected.items()}
    assert all(len(meaning) > 5 for _, _, meaning in rows)
