"""What the stand-in of the resource manager knows of managed online endpoints, their deployments and models.

A change is accepted and then under way until `settle` is called: no clock decides when it ends.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.kit.arm.standin import PLACE, VERSION, Arm, error

LOCATION = "westeurope"
BASE = "/onlineEndpoints/"
UNDER_WAY = {"Creating", "Updating", "Deleting"}


@dataclass
class EndpointArm(Arm):
    """A workspace with online endpoints.

    Args:
        broken: Model versions of which no deployment comes up.
    """

    broken: set[str] = field(default_factory=set)

    def model(self, name: str, number: int, version: str) -> None:
        """A registered model's version, as MLflow leaves it."""
        tags = {"airloop.version": version}
        properties = {"modelType": "custom_model", "modelUri": "azureml://runs/1", "tags": tags, "flavors": {}}
        self._keep(f"/models/{name}/versions/{number}", properties)

    def settle(self) -> None:
        """Every change that is under way ends."""
        for path, found in list(self.resources.items()):
            properties = found["properties"]
            if properties.get("provisioningState") == "Deleting":
                del self.resources[path]
            elif properties.get("provisioningState") in UNDER_WAY:
                failed = found.get("tags", {}).get("airloop.version") in self.broken
                properties["provisioningState"] = "Failed" if failed else "Succeeded"

    def traffic(self, endpoint: str) -> dict[str, int]:
        """Per cent by model version that the endpoint answers with."""
        shares = self.resources[f"{BASE}{endpoint}"]["properties"].get("traffic") or {}
        return {self._of(endpoint, name)["tags"]["airloop.version"]: share for name, share in shares.items()}

    def deployed(self, endpoint: str) -> dict[str, str]:
        """Provisioning state by model version."""
        found = [body for path, body in self.resources.items() if path.startswith(f"{BASE}{endpoint}/deployments/")]
        return {each["tags"]["airloop.version"]: each["properties"]["provisioningState"] for each in found}

    def _of(self, endpoint: str, name: str) -> dict[str, Any]:
        return self.resources[f"{BASE}{endpoint}/deployments/{name}"]

    def _check(self, path: str, version: str, headers: Any, method: str, body: Any) -> None:
        if path == PLACE and method == "GET" and VERSION.fullmatch(version):
            return
        if BASE in path and method == "PUT":
            if body.pop("location", None) != LOCATION:
                self.problems.append(f"location of {path}")
            body = {name: value for name, value in body.items() if name not in {"identity", "sku"}}
        super()._check(path, version, headers, method, body)

    def _get(self, path: str, body: Any) -> tuple[int, dict[str, str], Any]:
        if not path:
            properties = {"mlFlowTrackingUri": "azureml://localhost/mlflow/v1.0"}
            workspace = {"id": PLACE, "location": LOCATION, "properties": properties, "kind": "Default"}
            return 200, {}, workspace
        if path.endswith(("/deployments", "/versions")):
            return 200, {}, {"value": [each for name, each in self.resources.items() if name.startswith(f"{path}/")]}
        return super()._get(path, body)

    def _put(self, path: str, body: Any) -> tuple[int, dict[str, str], Any]:
        if not path.startswith(BASE):
            return super()._put(path, body)
        if problem := self._refused(path, body):
            return problem
        old = self.resources.get(path)
        properties = {**body["properties"], "provisioningState": "Updating" if old else "Creating"}
        if "/deployments/" in path:
            properties = {**properties, "scaleSettings": {"scaleType": "Default"}}
        made = self._keep(path, properties)
        made.update(location=LOCATION, tags=body.get("tags") or {}, sku={"name": "Default", "capacity": 1})
        made["identity"] = {"type": "SystemAssigned", "principalId": "p", "tenantId": "t"}
        waits = {"Azure-AsyncOperation": f"{self.url}{PLACE[1:]}/operations/1?api-version=2025-12-01"}
        return (200 if old else 201), waits, json.loads(json.dumps(made))

    def _refused(self, path: str, body: Any) -> tuple[int, dict[str, str], Any] | None:
        endpoint = BASE + path.removeprefix(BASE).partition("/")[0]
        state = self.resources.get(endpoint, {"properties": {}})["properties"].get("provisioningState")
        if state in UNDER_WAY:
            return 409, {}, error("Conflict", "the endpoint is changing")
        if path == endpoint:
            shares = body["properties"].get("traffic") or {}
            unready = [name for name in shares if not self._answers(endpoint, name)]
            if unready or sum(shares.values()) not in {0, 100}:
                return 400, {}, error("UserError", f"traffic {shares}: not ready {unready}")
        return None

    def _answers(self, endpoint: str, name: str) -> bool:
        found = self.resources.get(f"{endpoint}/deployments/{name}")
        return found is not None and found["properties"]["provisioningState"] == "Succeeded"

    def _delete(self, path: str, _body: Any) -> tuple[int, dict[str, str], Any]:
        endpoint, _, name = path.partition("/deployments/")
        if (self.resources[endpoint]["properties"].get("traffic") or {}).get(name):
            return 400, {}, error("UserError", "the deployment has traffic")
        self.resources[path]["properties"]["provisioningState"] = "Deleting"
        return 202, {"Location": f"{self.url}{PLACE[1:]}/operations/1?api-version=2025-12-01"}, None
