"""An online endpoint of an Azure Machine Learning workspace, through azure-ai-ml.

Making a deployment takes the service minutes. Each call looks at what the service says, starts what comes next and
returns; the call after it goes on from there. Code comes from the registered training component, packages from the
model registry and the environment was registered before, so nothing is uploaded.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from shared.adapters.models.azureml_client import Workspace, name_and_version
from shared.adapters.models.azureml_errors import is_place, translated
from shared.core.model import manifest
from shared.core.model.endpoint_plan import FAILED, Plan, Running, Seen, Wanted, name_of, percent_of, plan
from shared.errors import ConfigError, ContractBroken

VERSION = "airloop.version"  # tag of registered models and of our deployments
SCRIPT = "training/scoring/score.py"
BUSY = {409, 412}
log = logging.getLogger(__name__)


class AzureMlEndpoint:
    """One managed online endpoint.

    Args:
        workspace: The workspace.
        endpoint: Name of the endpoint; made when there is none, with Microsoft Entra tokens for its callers.
        model: Name of the registered model, whose versions carry the package's version as a tag.
        component: Registered component that holds the code, `name:version`.
        environment: Registered environment that runs it, `name:version`.
        instance_type: Size of a machine.
        instance_count: Machines of a deployment.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        endpoint: str,
        model: str,
        component: str,
        environment: str,
        instance_type: str = "Standard_DS3_v2",
        instance_count: int = 1,
    ) -> None:
        self._workspace = workspace
        self._scope = (workspace.group, workspace.name)
        self._name = endpoint
        self._model = model
        self._component = name_and_version("AZUREML_COMPONENT", component)
        self._environment = name_and_version("AZUREML_ENDPOINT_ENVIRONMENT", environment)
        self._machine = (instance_type, instance_count)
        self._lock = threading.Lock()

    def show(self, champion: str, challenger: str | None, share: float) -> None:
        """Bring the endpoint nearer to where the control document stands; nothing happens when it is there.

        Raises:
            TransientFailure: The workspace does not answer for now.
            ConfigError: It refuses, or a deployment did not come up; who answered before goes on answering.
            ContractBroken: That is no version or no share.
        """
        wanted = self._wanted(champion, challenger, share)
        with self._lock, translated(f"endpoint {self._name}", "AZUREML_ENDPOINT"):
            found = self._get()
            if found is None:
                self._create()
                return
            seen = self._seen(found)
            decided = plan(seen, wanted)
            self._carry_out(found, decided)
        if seen.state in FAILED:
            raise ConfigError(f"endpoint {self._name}: its last change ended as {seen.state}; it was sent again")
        if decided.failed:
            raise ConfigError(
                f"endpoint {self._name}: {', '.join(decided.failed)} did not come up; its logs in Azure ML say why, "
                "and once it is deleted it is made anew"
            )

    def _wanted(self, champion: str, challenger: str | None, share: float) -> Wanted:
        percent_of(share)
        versions = [each for each in (champion, challenger) if each is not None]
        for version in versions:
            if not manifest.VERSION.fullmatch(version):
                raise ContractBroken(f"version {version[:80]!r} is not of the form {manifest.VERSION.pattern}")
        made_of = (*self._component, *self._environment, *self._machine)
        return Wanted(champion, challenger, share, {each: name_of(each, *made_of) for each in versions})

    def _get(self) -> Any:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self._workspace.client.online_endpoints.get(self._name)
        except ResourceNotFoundError as error:
            if is_place(error):
                raise
            return None

    def _seen(self, endpoint: Any) -> Seen:
        deployments = self._workspace.client.online_deployments.list(self._name)
        ours = [
            Running(each.name, each.tags[VERSION], _plain(each.provisioning_state))
            for each in deployments
            if VERSION in (each.tags or {})
        ]
        return Seen(_plain(endpoint.provisioning_state), dict(endpoint.traffic), ours)

    def _carry_out(self, endpoint: Any, decided: Plan) -> None:
        if decided.traffic is not None:
            endpoint.traffic = dict(decided.traffic)
            self._start(f"traffic {endpoint.traffic}", lambda: self._put(endpoint, endpoint.location))
        for version in decided.create:
            self._deploy(version, endpoint.location)
        for name in decided.delete:
            self._start(f"delete {name}", lambda name=name: self._delete(name))  # type: ignore[misc]

    def _create(self) -> None:
        from azure.ai.ml.entities import ManagedOnlineEndpoint

        made = ManagedOnlineEndpoint(name=self._name, auth_mode="aad_token", description=f"AirLoop: {self._model}")
        location = self._workspace.client.workspaces.get(self._workspace.name).location
        self._start("create", lambda: self._put(made, location))

    def _deploy(self, version: str, location: str) -> None:
        from azure.ai.ml.entities import CodeConfiguration, ManagedOnlineDeployment

        kind, count = self._machine
        environment, number = self._environment
        made = ManagedOnlineDeployment(
            name=name_of(version, *self._component, *self._environment, *self._machine),
            endpoint_name=self._name,
            tags={VERSION: version},
            model=f"{self._workspace.id}/models/{self._model}/versions/{self._number(version)}",
            environment=f"{self._workspace.id}/environments/{environment}/versions/{number}",
            code_configuration=CodeConfiguration(code=self._code(), scoring_script=SCRIPT),
            environment_variables={"AIRLOOP_VERSION": version},
            instance_type=kind,
            instance_count=count,
        )
        deployments = self._workspace.client.online_deployments._online_deployment  # noqa: SLF001 - see `_put`
        body = made._to_rest_object(location)  # noqa: SLF001
        self._start(
            f"deploy {made.name} for {version}",
            lambda: deployments.begin_create_or_update(*self._scope, self._name, made.name, body=body, polling=False),
        )

    def _put(self, endpoint: Any, location: str) -> None:
        """Send the endpoint.

        The client's public call has no option against waiting: it leaves a thread that polls for minutes and prints.
        """
        body = endpoint._to_rest_online_endpoint(location)  # noqa: SLF001
        operations = self._workspace.client.online_endpoints._online_operation  # noqa: SLF001
        operations.begin_create_or_update(*self._scope, self._name, body=body, polling=False)

    def _delete(self, name: str) -> None:
        operations = self._workspace.client.online_deployments._online_deployment  # noqa: SLF001 - see `_put`
        operations.begin_delete(*self._scope, self._name, name, polling=False)

    def _start(self, doing: str, send: Callable[[], object]) -> None:
        """Start a change; one that another worker is at is left to a later look."""
        from azure.core.exceptions import HttpResponseError

        try:
            send()
        except HttpResponseError as error:
            if error.status_code not in BUSY:
                raise
            log.info("endpoint %s: %s has to wait: HTTP %s", self._name, doing, error.status_code)
        else:
            log.info("endpoint %s: %s", self._name, doing)

    def _number(self, version: str) -> str:
        """Number of a package's version in the registry."""
        for each in self._workspace.client.models.list(name=self._model):
            if (each.tags or {}).get(VERSION) == version:
                return str(each.version)
        raise ConfigError(
            f"MLFLOW_TRACKING_URI: {version} is not a version of the model {self._model} in the workspace"
        )

    def _code(self) -> str:
        """The code that was registered with the component."""
        with translated(f"component {':'.join(self._component)}", "AZUREML_COMPONENT"):
            return str(self._workspace.client.components.get(*self._component).code).removeprefix("azureml:")


def _plain(state: object) -> str:
    """A state's word, whether the client knows it as one of an enumeration or not."""
    return str(getattr(state, "value", state))
