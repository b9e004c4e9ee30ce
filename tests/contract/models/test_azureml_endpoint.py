"""The online endpoint adapter with the real client, against the stand-in of the resource manager."""

from __future__ import annotations

import copy
import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from shared.adapters.jobs.none import NoEndpoint
from shared.adapters.models.azureml_client import Workspace
from shared.adapters.models.azureml_endpoint import SCRIPT, AzureMlEndpoint
from shared.errors import ConfigError, ContractBroken, TransientFailure
from shared.ports import Endpoint
from tests.contract.jobs.test_azureml_jobs import CODE, Identity, NoIdentity, cloud
from tests.kit.arm.endpoints import BASE, EndpointArm
from tests.kit.arm.standin import BEARER, GROUP, PLACE, SUBSCRIPTION, WORKSPACE, error, serving

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # azure-ai-ml's, of its own dependencies
NAME = "airloop-air"
BLUE, GREEN, THIRD = "20261101-abc", "20261108-def", "20261115_x.9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EndpointArm]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")  # the client writes it: put back at the end
        with serving(tmp_path_factory.mktemp("arm"), EndpointArm) as found:
            yield cast(EndpointArm, found)


@pytest.fixture
def arm(server: EndpointArm) -> Iterator[EndpointArm]:
    fresh = EndpointArm()
    for part in dataclasses.fields(EndpointArm):
        if part.name not in {"url", "authority"}:
            setattr(server, part.name, getattr(fresh, part.name))
    server.register("airloop_training", "3")
    for number, version in enumerate((BLUE, GREEN, THIRD), 1):
        server.model("air_quality", number, version)
    yield server
    assert server.problems == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LROPoller")]


def adapter(arm: EndpointArm, credential: Any = None, options: Any = None, **changes: Any) -> AzureMlEndpoint:
    given: dict[str, Any] = {
        "endpoint": NAME,
        "model": "air_quality",
        "component": "airloop_training:3",
        "environment": "airloop_scoring:1",
        "instance_type": "Standard_F2s_v2",
        "instance_count": 2,
    }
    workspace = Workspace(SUBSCRIPTION, GROUP, WORKSPACE, credential or Identity(), options or cloud(arm))
    return AzureMlEndpoint(workspace, **{**given, **changes})


def changes(arm: EndpointArm) -> list[tuple[str, str]]:
    return [(each.method, each.path) for each in arm.requests if each.method != "GET"]


def until_still(arm: EndpointArm, endpoint: Endpoint, *wanted: Any) -> int:
    """Call and let changes end until a call changes nothing; returns how many calls did."""
    for count in range(20):
        before = len(changes(arm))
        endpoint.show(*wanted)
        if len(changes(arm)) == before:
            return count
        arm.settle()
    raise AssertionError("it never came to rest")


def test_the_first_champion_gets_endpoint_deployment_and_traffic_one_after_the_other(arm: EndpointArm) -> None:
    assert until_still(arm, adapter(arm), BLUE, None, 0.0) == 3
    (deployment,) = (path for _, path in changes(arm) if "/deployments/" in path)
    assert changes(arm) == [("PUT", f"{BASE}{NAME}"), ("PUT", deployment), ("PUT", f"{BASE}{NAME}")]
    assert arm.traffic(NAME) == {BLUE: 100}
    assert arm.resources[f"{BASE}{NAME}"]["properties"]["authMode"] == "AADToken"


def test_a_deployment_refers_to_registered_versions_and_uploads_nothing(arm: EndpointArm) -> None:
    until_still(arm, adapter(arm), GREEN, None, 0.0)
    sent = next(each for each in arm.sent("PUT") if "/deployments/" in each.path).body
    properties = sent["properties"]
    assert properties["endpointComputeType"] == "Managed"
    assert properties["model"] == f"{PLACE}/models/air_quality/versions/2"
    assert properties["environmentId"] == f"{PLACE}/environments/airloop_scoring/versions/1"
    assert properties["codeConfiguration"] == {
        "codeId": f"{PLACE}/codes/c0de/versions/1",
        "scoringScript": "training/scoring/score.py",
    }
    assert properties["instanceType"] == "Standard_F2s_v2"
    assert properties["environmentVariables"] == {"AIRLOOP_VERSION": GREEN}
    assert sent["sku"] == {"name": "Default", "capacity": 2}
    assert sent["tags"] == {"airloop.version": GREEN}


def test_the_script_that_a_deployment_names_is_part_of_the_code() -> None:
    from training.azureml.versions import INCLUDED

    assert (CODE / SCRIPT).is_file()
    assert SCRIPT.split("/")[0] in INCLUDED


def test_a_second_call_changes_nothing(arm: EndpointArm) -> None:
    until_still(arm, adapter(arm), BLUE, GREEN, 0.1)
    before = len(changes(arm))
    adapter(arm).show(BLUE, GREEN, 0.1)
    assert len(changes(arm)) == before


def test_nothing_is_started_twice_while_it_is_under_way(arm: EndpointArm) -> None:
    endpoint = adapter(arm)
    for count in (1, 2, 3):
        for _ in range(3):
            endpoint.show(BLUE, None, 0.0)
        assert len(changes(arm)) == count
        arm.settle()


def test_a_shadow_is_made_ready_without_traffic_and_a_canary_gets_its_share(arm: EndpointArm) -> None:
    endpoint = adapter(arm)
    until_still(arm, endpoint, BLUE, GREEN, 0.0)
    assert arm.deployed(NAME) == {BLUE: "Succeeded", GREEN: "Succeeded"}
    assert arm.traffic(NAME) == {BLUE: 100}
    assert until_still(arm, endpoint, BLUE, GREEN, 0.25) == 1
    assert arm.traffic(NAME) == {BLUE: 75, GREEN: 25}


def test_a_canary_that_is_not_ready_gets_no_traffic_yet(arm: EndpointArm) -> None:
    endpoint = adapter(arm)
    until_still(arm, endpoint, BLUE, None, 0.0)
    endpoint.show(BLUE, GREEN, 0.5)
    endpoint.show(BLUE, GREEN, 0.5)
    assert arm.deployed(NAME)[GREEN] == "Creating"
    assert arm.traffic(NAME) == {BLUE: 100}


def test_promotion_keeps_the_old_one_as_guard_and_deletes_it_afterwards(arm: EndpointArm) -> None:
    endpoint = adapter(arm)
    until_still(arm, endpoint, BLUE, GREEN, 0.5)
    until_still(arm, endpoint, GREEN, BLUE, 0.0)
    assert arm.traffic(NAME) == {GREEN: 100}
    assert arm.deployed(NAME) == {BLUE: "Succeeded", GREEN: "Succeeded"}
    until_still(arm, endpoint, GREEN, None, 0.0)
    assert arm.deployed(NAME) == {GREEN: "Succeeded"}
    assert [method for method, _ in changes(arm)].count("DELETE") == 1


def test_roll_back_is_one_change_of_traffic_even_while_something_else_is_made(arm: EndpointArm) -> None:
    endpoint = adapter(arm)
    until_still(arm, endpoint, BLUE, GREEN, 0.5)
    until_still(arm, endpoint, GREEN, BLUE, 0.0)
    endpoint.show(GREEN, THIRD, 0.0)  # a deployment that will be under way for long
    endpoint.show(BLUE, None, 0.0)
    assert arm.traffic(NAME) == {BLUE: 100}
    arm.settle()
    until_still(arm, endpoint, BLUE, None, 0.0)
    assert arm.deployed(NAME) == {BLUE: "Succeeded"}


def test_an_old_deployment_stays_until_its_traffic_has_left_and_the_new_one_is_ready(arm: EndpointArm) -> None:
    endpoint = adapter(arm)
    until_still(arm, endpoint, BLUE, None, 0.0)
    endpoint.show(GREEN, None, 0.0)
    for _ in range(3):
        endpoint.show(GREEN, None, 0.0)
        assert arm.traffic(NAME) == {BLUE: 100}
    arm.settle()
    endpoint.show(GREEN, None, 0.0)
    assert arm.traffic(NAME) == {GREEN: 100}
    assert arm.deployed(NAME)[BLUE] == "Succeeded", "the traffic is only about to leave it"
    arm.settle()
    endpoint.show(GREEN, None, 0.0)
    assert arm.deployed(NAME) == {BLUE: "Deleting", GREEN: "Succeeded"}


def test_a_deployment_that_does_not_come_up_leaves_the_old_one_answering_and_is_told(arm: EndpointArm) -> None:
    endpoint = adapter(arm)
    until_still(arm, endpoint, BLUE, None, 0.0)
    arm.broken = {GREEN}
    endpoint.show(GREEN, None, 0.0)
    arm.settle()
    before = len(changes(arm))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"airloop-air.*v20261108-def-\w+ did not come up"):
            endpoint.show(GREEN, None, 0.0)
    assert len(changes(arm)) == before, "it is not tried again by itself"
    assert arm.traffic(NAME) == {BLUE: 100}
    until_still(arm, endpoint, BLUE, None, 0.0)
    assert arm.deployed(NAME) == {BLUE: "Succeeded"}


def test_another_version_of_the_code_is_rolled_out_beside_the_old_one(arm: EndpointArm) -> None:
    until_still(arm, adapter(arm), BLUE, GREEN, 0.25)
    old = set(arm.resources)
    arm.register("airloop_training", "4")
    newer = adapter(arm, component="airloop_training:4")
    newer.show(BLUE, GREEN, 0.25)
    assert arm.traffic(NAME) == {BLUE: 75, GREEN: 25}
    assert len(set(arm.resources) - old) == 3, "a component and two deployments"
    newer.show(BLUE, None, 0.0)
    assert arm.traffic(NAME) == {BLUE: 100}, "a challenger is taken back before the new code is ready"
    arm.settle()
    until_still(arm, newer, BLUE, None, 0.0)
    assert len([path for path in arm.resources if "/deployments/" in path]) == 1


def test_a_deployment_of_somebody_else_is_left_alone(arm: EndpointArm) -> None:
    until_still(arm, adapter(arm), BLUE, None, 0.0)
    place = f"{BASE}{NAME}/deployments/hand-made"
    ours = next(path for path in arm.resources if "/deployments/v" in path)
    theirs = {"id": f"{PLACE}{place}", "name": "hand-made", "tags": {}}
    arm.resources[place] = {**copy.deepcopy(arm.resources[ours]), **theirs}
    until_still(arm, adapter(arm), GREEN, None, 0.0)
    assert place in arm.resources
    assert arm.traffic(NAME) == {GREEN: 100}


def test_an_endpoint_whose_change_failed_is_sent_again_and_told(arm: EndpointArm) -> None:
    until_still(arm, adapter(arm), BLUE, None, 0.0)
    arm.resources[f"{BASE}{NAME}"]["properties"]["provisioningState"] = "Failed"
    with pytest.raises(ConfigError, match=r"airloop-air.*Failed"):
        adapter(arm).show(BLUE, None, 0.0)
    arm.settle()
    adapter(arm).show(BLUE, None, 0.0)
    assert arm.traffic(NAME) == {BLUE: 100}


@pytest.mark.parametrize("status", [409, 412])
def test_a_change_that_another_worker_is_at_waits_for_the_next_call(arm: EndpointArm, status: int) -> None:
    endpoint = adapter(arm)
    until_still(arm, endpoint, BLUE, None, 0.0)
    found = f"{BASE}{NAME}"
    deployments = {"value": [each for path, each in arm.resources.items() if path.startswith(f"{found}/")]}
    arm.answers = [(200, {}, arm.resources[found]), (200, {}, deployments), (200, {}, deployments)]
    arm.answers += [(200, {}, {"value": [arm.resources["/models/air_quality/versions/2"]]})]
    arm.answers += [(200, {}, arm.resources["/components/airloop_training/versions/3"])]
    arm.answers += [(status, {}, error("Conflict", "busy"))]
    endpoint.show(BLUE, GREEN, 0.0)
    assert GREEN not in arm.deployed(NAME)
    until_still(arm, endpoint, BLUE, GREEN, 0.0)
    assert GREEN in arm.deployed(NAME)


def test_throttling_and_hiccups_are_sat_out(arm: EndpointArm) -> None:
    arm.answers = [(429, {"Retry-After": "0"}, error("TooManyRequests", "slow down"))]
    arm.answers += [(503, {}, error("ServiceUnavailable", "soon"))]
    adapter(arm).show(BLUE, None, 0.0)
    assert changes(arm) == [("PUT", f"{BASE}{NAME}")]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_that_stays_down_is_transient(arm: EndpointArm, status: int) -> None:
    arm.answers = [(status, {"Retry-After": "0"}, error("Trouble", "later"))] * 20
    with pytest.raises(TransientFailure, match=f"HTTP {status}"):
        adapter(arm).show(BLUE, None, 0.0)


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (403, "AuthorizationFailed", "no authorization to perform onlineEndpoints/read", "identity.*onlineEndpoints"),
        (404, "ResourceGroupNotFound", "Resource group 'rg-air' could not be found.", "AZUREML_RESOURCE_GROUP"),
        (400, "BadRequest", "The name is taken", "AZUREML_ENDPOINT"),
    ],
)
def test_a_wrong_place_or_identity_is_a_configuration_error(
    arm: EndpointArm, status: int, code: str, message: str, expected: str
) -> None:
    arm.answers = [(status, {}, error(code, f"{message} (Authorization: Bearer {BEARER})"))]
    with pytest.raises(ConfigError, match=expected) as caught:
        adapter(arm).show(BLUE, None, 0.0)
    assert BEARER not in str(caught.value)


def test_a_missing_identity_is_a_configuration_error(arm: EndpointArm) -> None:
    with pytest.raises(ConfigError, match="identity"):
        adapter(arm, credential=NoIdentity()).show(BLUE, None, 0.0)


def test_a_version_that_nobody_registered_is_named(arm: EndpointArm) -> None:
    until_still(arm, adapter(arm), BLUE, None, 0.0)
    with pytest.raises(ConfigError, match=r"20270101-none is not a version of the model air_quality"):
        adapter(arm).show("20270101-none", None, 0.0)
    assert arm.traffic(NAME) == {BLUE: 100}


def test_a_component_that_nobody_registered_is_named(arm: EndpointArm) -> None:
    adapter(arm).show(BLUE, None, 0.0)
    arm.settle()
    with pytest.raises(ConfigError, match=r"AZUREML_COMPONENT.*airloop_training:4"):
        adapter(arm, component="airloop_training:4").show(BLUE, None, 0.0)


@pytest.mark.parametrize("setting", ["component", "environment"])
@pytest.mark.parametrize("text", ["", "name", ":3", "name:"])
def test_a_reference_without_name_or_version_is_refused_at_once(arm: EndpointArm, setting: str, text: str) -> None:
    with pytest.raises(ConfigError, match="name:version"):
        adapter(arm, **{setting: text})


@pytest.mark.parametrize(
    "wanted", [("../x", None, 0.0), (BLUE, "a/b", 0.0), (BLUE, GREEN, 1.5), (BLUE, GREEN, float("nan"))]
)
def test_an_impossible_version_or_share_is_refused_without_asking(arm: EndpointArm, wanted: Any) -> None:
    with pytest.raises(ContractBroken):
        adapter(arm).show(*wanted)
    assert arm.requests == []


def test_without_an_endpoint_nothing_happens() -> None:
    endpoint: Endpoint = NoEndpoint()
    endpoint.show(BLUE, None, 0.0)


def test_building_the_adapter_touches_no_network_and_imports_no_client() -> None:
    code = (
        "import sys; from shared.adapters.models.azureml_client import Workspace as W; "
        "from shared.adapters.models.azureml_endpoint import AzureMlEndpoint as A; "
        "A(W('s', 'g', 'w'), endpoint='e', model='m', component='n:1', environment='e:1'); "
        "sys.exit(any(name.startswith('azure') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=CODE, check=False, timeout=60)  # noqa: S603 - our own code
    assert done.returncode == 0


def test_the_client_accepts_the_environment_and_its_image_has_the_packages_of_the_application() -> None:
    from azure.ai.ml import load_environment

    folder = (CODE / SCRIPT).parent
    found: Any = load_environment(folder / "environment.yml")
    route = found.inference_config.scoring_route
    assert (route.path, route.port) == ("/score", 5001)
    pins = set((folder / "requirements.txt").read_text().splitlines())
    application = (CODE / "requirements.txt").read_text().splitlines()
    ours = {line for line in pins if line and not line.startswith(("#", "azureml-inference"))}
    assert ours
    assert ours <= set(application)
