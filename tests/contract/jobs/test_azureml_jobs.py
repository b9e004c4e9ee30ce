"""The Azure ML adapter with the real client, against the stand-in of the resource manager."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.adapters.jobs.azureml import STATES, AzureMlJobs
from shared.adapters.models.azureml_client import Workspace
from shared.core.retrain.job_spec import JobSpec
from shared.errors import ConfigError, TransientFailure
from tests import ROOT
from tests.kit.arm.standin import BEARER, COMMAND, GROUP, PLACE, SUBSCRIPTION, WORKSPACE, Arm, error, serving

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # azure-ai-ml's, of its own dependencies
SPEC = JobSpec(
    name="air_quality-000007",
    scenario="air_quality",
    reason="drift",
    dataset="lake@12",
    champion="20261101-abc",
    timeout_h=2.0,
    tags={"position": "7"},
)
CODE = ROOT
JOB = f"/jobs/{SPEC.name}"


class Identity:
    """A credential that always has the same token."""

    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        from azure.core.credentials import AccessToken

        return AccessToken(BEARER, int(time.time()) + 3600)


class NoIdentity:
    """A credential without any identity behind it."""

    def get_token(self, *_scopes: str, **_options: Any) -> Any:
        from azure.core.exceptions import ClientAuthenticationError

        raise ClientAuthenticationError("no identity was found")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arm]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")  # the client writes it: put back at the end
        with serving(tmp_path_factory.mktemp("arm")) as found:
            yield found


@pytest.fixture
def arm(server: Arm) -> Iterator[Arm]:
    fresh = Arm()
    for part in dataclasses.fields(Arm):
        if part.name not in {"url", "authority"}:
            setattr(server, part.name, getattr(fresh, part.name))
    server.register("airloop_training", "3")
    yield server
    assert server.problems == []


def cloud(arm: Arm) -> dict[str, Any]:
    """Options that lead the client to the stand-in, and spare it the pauses before retries."""
    metadata = {
        "azure_portal": arm.url,
        "resource_manager": arm.url,
        "active_directory": arm.url,
        "aml_resource_id": arm.url,
        "storage_endpoint": "localhost",
        "registry_discovery_endpoint": arm.url,
    }
    return {
        "cloud": f"standin-{arm.url}",  # the client keeps clouds by name for the life of the process
        "cloud_metadata": metadata,
        "connection_verify": arm.authority,
        "retry_backoff_factor": 0,
    }


def adapter(arm: Arm, credential: Any = None, options: Any = None, **changes: Any) -> AzureMlJobs:
    given: dict[str, Any] = {
        "compute": "cpu-cluster",
        "component": "airloop_training:3",
        "environment": {"BLOBS__blobServiceUri": "https://air.example/"},
    }
    workspace = Workspace(SUBSCRIPTION, GROUP, WORKSPACE, credential or Identity(), options or cloud(arm))
    return AzureMlJobs(workspace, **{**given, **changes})


def test_a_job_refers_to_registered_versions_and_uploads_nothing(arm: Arm) -> None:
    adapter(arm).submit(SPEC)
    assert [(r.method, r.path) for r in arm.requests] == [
        ("GET", JOB),
        ("GET", "/components/airloop_training/versions/3"),
        ("PUT", JOB),
    ]
    sent = arm.sent("PUT")[0].body["properties"]
    assert sent["jobType"] == "Command"
    assert sent["command"] == COMMAND
    assert sent["codeId"] == f"{PLACE}/codes/c0de/versions/1"
    assert sent["environmentId"] == f"{PLACE}/environments/airloop_training/versions/3"
    assert sent["computeId"] == f"{PLACE}/computes/cpu-cluster"
    assert sent["experimentName"] == "air_quality"
    assert sent["displayName"] == "air_quality: drift"
    assert {name: value["value"] for name, value in sent["inputs"].items()} == {
        "scenario": "air_quality",
        "dataset": "lake@12",
        "champion": "20261101-abc",
        "job": "air_quality-000007",
    }
    assert sent["tags"] == {
        "position": "7",
        "reason": "drift",
        "dataset": "lake@12",
        "component": "airloop_training:3",
    }
    assert sent["environmentVariables"] == {"BLOBS__blobServiceUri": "https://air.example/"}
    assert sent["identity"] == {"identityType": "Managed"}
    assert sent["limits"] == {"timeout": "PT2H", "jobLimitsType": "Command"}


def test_without_a_champion_the_input_says_none(arm: Arm) -> None:
    adapter(arm).submit(JobSpec(name="s-1", scenario="s", reason="bootstrap", dataset="lake@1"))
    assert arm.job("s-1")["inputs"]["champion"]["value"] == "none"


def test_the_component_is_read_once(arm: Arm) -> None:
    jobs = adapter(arm)
    for number in range(3):
        jobs.submit(JobSpec(name=f"s-{number}", scenario="s", reason="drift", dataset="lake@1"))
    assert sum(request.path.startswith("/components") for request in arm.requests) == 1


def test_a_name_that_is_there_is_not_written_again(arm: Arm) -> None:
    adapter(arm).submit(SPEC)
    adapter(arm).submit(SPEC)
    assert len(arm.sent("PUT")) == 1


def test_two_that_submit_at_once_both_succeed(arm: Arm) -> None:
    adapter(arm).submit(SPEC)
    arm.answers = [(404, {}, error("UserError", "not found"))]  # what the second one saw before the first one wrote
    adapter(arm).submit(SPEC)
    assert len(arm.sent("PUT")) == 2


@pytest.mark.parametrize(("status", "state"), STATES.items())
def test_every_status_has_a_state(arm: Arm, status: str, state: str) -> None:
    jobs = adapter(arm)
    jobs.submit(SPEC)
    arm.job(SPEC.name)["status"] = status
    assert jobs.status(SPEC.name) == state


def test_the_statuses_are_those_that_the_client_knows() -> None:
    from azure.ai.ml._restclient.arm_ml_service.models import JobStatus

    assert set(STATES) == {status.value for status in JobStatus}


def test_a_status_of_a_later_service_counts_as_running(arm: Arm, caplog: pytest.LogCaptureFixture) -> None:
    jobs = adapter(arm)
    jobs.submit(SPEC)
    arm.job(SPEC.name)["status"] = "Hibernating"
    assert jobs.status(SPEC.name) == "running"
    assert "Hibernating" in caplog.text


def test_cancelling_asks_once_and_does_not_wait(arm: Arm) -> None:
    jobs = adapter(arm)
    jobs.submit(SPEC)
    jobs.cancel(SPEC.name)
    assert [(r.path, r.body) for r in arm.sent("POST")] == [(f"{JOB}/cancel", None)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LROPoller")]
    assert jobs.status(SPEC.name) == "running", "it was asked to end, and has not ended yet"
    assert jobs.status(SPEC.name) == "canceled"
    jobs.cancel(SPEC.name)
    assert len(arm.sent("POST")) == 1


def test_a_job_that_ends_while_it_is_cancelled_is_no_error(arm: Arm) -> None:
    jobs = adapter(arm)
    jobs.submit(SPEC)
    running = arm.resources[JOB]
    arm.answers = [(200, {}, {**running, "properties": {**running["properties"], "status": "Running"}})]
    arm.answers.append((400, {}, error("UserError", "the job has ended")))
    running["properties"]["status"] = "Completed"
    jobs.cancel(SPEC.name)
    assert jobs.status(SPEC.name) == "completed"


def test_throttling_and_hiccups_are_sat_out(arm: Arm) -> None:
    busy = (429, {"Retry-After": "0"}, error("TooManyRequests", "slow down"))
    arm.answers = [busy, (503, {}, error("ServiceUnavailable", "soon"))]
    adapter(arm).submit(SPEC)
    assert [request.method for request in arm.requests] == ["GET", "GET", "GET", "GET", "PUT"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_service_that_stays_down_is_transient(arm: Arm, status: int) -> None:
    arm.answers = [(status, {"Retry-After": "0"}, error("Trouble", "later"))] * 20
    with pytest.raises(TransientFailure, match=f"HTTP {status}"):
        adapter(arm).submit(SPEC)


def test_nobody_listening_is_transient(arm: Arm) -> None:
    options = {**cloud(arm), "cloud": f"nobody-{arm.url}", "retry_total": 0}
    options["cloud_metadata"] = {**options["cloud_metadata"], "resource_manager": "https://localhost:1/"}
    with pytest.raises(TransientFailure, match="ServiceRequestError"):
        adapter(arm, options=options).status(SPEC.name)


def test_a_certificate_of_an_unknown_authority_is_refused(arm: Arm) -> None:
    options = {**cloud(arm), "connection_verify": True, "retry_total": 0}
    with pytest.raises(TransientFailure):
        adapter(arm, options=options).status(SPEC.name)
    assert arm.requests == []


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (401, "InvalidAuthenticationToken", "The access token is invalid", "identity"),
        (403, "AuthorizationFailed", "no authorization to perform jobs/write", "identity.*jobs/write"),
        (404, "ResourceGroupNotFound", "Resource group 'rg-air' could not be found.", "AZUREML_RESOURCE_GROUP"),
        (404, "SubscriptionNotFound", "The subscription could not be found.", "AZUREML_SUBSCRIPTION"),
        (
            404,
            "ResourceNotFound",
            "The Resource 'Microsoft.MachineLearningServices/workspaces/mlw-air' under resource group 'rg-air' was "
            "not found.",
            "AZUREML_WORKSPACE",
        ),
    ],
)
def test_a_wrong_place_or_identity_is_a_configuration_error(
    arm: Arm, status: int, code: str, message: str, expected: str
) -> None:
    for call in ("submit", "status", "cancel"):
        arm.answers = [(status, {}, error(code, f"{message} (Authorization: Bearer {BEARER})"))]
        with pytest.raises(ConfigError, match=expected) as caught:
            getattr(adapter(arm), call)(SPEC if call == "submit" else SPEC.name)
        assert BEARER not in str(caught.value)


def test_a_component_that_nobody_registered_is_named(arm: Arm) -> None:
    with pytest.raises(ConfigError, match=r"AZUREML_COMPONENT.*airloop_training:4"):
        adapter(arm, component="airloop_training:4").submit(SPEC)


def test_a_compute_that_does_not_exist_is_named(arm: Arm) -> None:
    missing: tuple[int, dict[str, str], Any] = (404, {}, error("UserError", "not found"))
    arm.answers = [missing, (200, {}, arm.resources["/components/airloop_training/versions/3"])]
    arm.answers += [(400, {}, error("UserError", "Unknown compute target 'cpu-cluster'.")), missing]
    with pytest.raises(ConfigError, match=r"AZUREML_COMPUTE.*cpu-cluster"):
        adapter(arm).submit(SPEC)


def test_a_missing_identity_is_a_configuration_error(arm: Arm) -> None:
    with pytest.raises(ConfigError, match="identity"):
        adapter(arm, credential=NoIdentity()).status(SPEC.name)


@pytest.mark.parametrize("component", ["", "airloop_training", ":3", "airloop_training:"])
def test_a_component_without_name_or_version_is_refused_at_once(arm: Arm, component: str) -> None:
    with pytest.raises(ConfigError, match="AZUREML_COMPONENT"):
        adapter(arm, component=component)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "x" * 256])
def test_an_impossible_name_is_unknown_without_asking(arm: Arm, name: str) -> None:
    jobs = adapter(arm)
    assert jobs.status(name) is None
    jobs.cancel(name)
    assert arm.requests == []


def test_building_the_adapter_touches_no_network_and_imports_no_client() -> None:
    code = (
        "import sys; from shared.adapters.models.azureml_client import Workspace as W; "
        "from shared.adapters.jobs.azureml import AzureMlJobs as A; "
        "A(W('s', 'g', 'w'), compute='c', component='n:1', environment={}); "
        "sys.exit(any(name.startswith('azure') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CODE, check=False, timeout=60)  # noqa: S603 - our own code
    assert done.returncode == 0
