"""The model registry in MLflow: SQLite on one machine, Azure ML in the cloud (through azureml-mlflow)."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from shared.adapters.models.mlflow_errors import translated

log = logging.getLogger(__name__)
VERSION, STATUS = "airloop.version", "airloop.status"
TRANSIENT = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED"}
WITHOUT_ALIASES = "azureml"  # its registry has none
ALIASES = {"installed": "champion", "champion": "champion", "guarded": "champion", "shadow": "challenger",
           "canary": "challenger"}  # fmt: skip


@dataclass
class MlflowRegistry:
    """The versions of one scenario's model; the registered model has the scenario's name.

    Args:
        scenario: Name of the scenario.
        uri: Of the tracking store that holds the registry too.
    """

    scenario: str
    uri: str
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def register(self, version: str, run_id: str, tags: Mapping[str, str]) -> str:
        """Enter a package version once; returns its number in the registry.

        Args:
            version: The package's version.
            run_id: MLflow run that made it and holds it as the artifact "package".
            tags: What else stands beside it.

        Raises:
            TransientFailure: The registry does not answer.
            ConfigError: It refuses.
        """
        with self._lock, translated(self.uri):
            found = self._find(version)
            if found is not None:
                return str(found.version)
            self._model()
            source = f"runs:/{run_id}/package"
            made = self._client.create_model_version(
                self.scenario, source, run_id=run_id, tags={VERSION: version, **tags}
            )
            first = self._find(version)  # another worker may have entered it at the same time: the first one counts
            if first is not None and int(first.version) < int(made.version):
                self._client.delete_model_version(self.scenario, made.version)
                return str(first.version)
            return str(made.version)

    def tag(self, version: str, status: str) -> None:
        """Say what became of a version: a tag, and an alias where the store has them; an unknown one is left alone.

        Raises:
            TransientFailure: The registry does not answer.
            ConfigError: It refuses.
        """
        with self._lock, translated(self.uri):
            found = self._find(version)
            if found is None:
                log.warning("registry: version %s of %s is not known and not marked", version, self.scenario)
                return
            if status in ALIASES:
                self._alias(ALIASES[status], found.version)
            if ALIASES.get(status) != "challenger" and str(found.version) == self._aliases().get("challenger"):
                self._client.delete_registered_model_alias(self.scenario, "challenger")
            self._client.set_model_version_tag(self.scenario, found.version, STATUS, status)  # last: then it is whole

    def marks(self) -> dict[str, str]:
        """Status of every version that is entered, "" without one or while its aliases do not fit.

        Raises:
            TransientFailure: The registry does not answer.
            ConfigError: It refuses.
        """
        with self._lock, translated(self.uri):
            found = sorted(self._all(), key=lambda each: -int(each.version))  # of two of a version the first one counts
            aliases = self._aliases() if found and not self.uri.startswith(WITHOUT_ALIASES) else None
            return {each.tags[VERSION]: _mark(each, aliases) for each in found if VERSION in each.tags}

    def keep(self, run_id: str, folder: str, files: Mapping[str, bytes]) -> None:
        """Keep texts as artifacts of a run; those of the same names are replaced.

        Raises:
            TransientFailure: The store does not answer.
            ConfigError: It refuses, or has no such run.
        """
        with self._lock, translated(self.uri):
            for name, data in files.items():
                self._client.log_text(run_id, data.decode(), f"{folder}/{name}")

    def versions(self) -> list[dict[str, Any]]:
        """What is registered, oldest first: number, run_id, tags, aliases.

        Raises:
            TransientFailure: The registry does not answer.
            ConfigError: It refuses.
        """
        with self._lock, translated(self.uri):
            found = sorted(self._all(), key=lambda each: int(each.version))
            aliases = self._aliases() if found else {}
            return [
                {
                    "number": str(each.version),
                    "run_id": each.run_id,
                    "tags": dict(each.tags),
                    "aliases": sorted(name for name, number in aliases.items() if number == str(each.version)),
                }
                for each in found
            ]

    def _aliases(self) -> dict[str, str]:
        found = self._client.get_registered_model(self.scenario).aliases or {}
        return {name: str(number) for name, number in found.items()}

    def _find(self, version: str) -> Any:
        held = [each for each in self._all() if each.tags.get(VERSION) == version]
        return min(held, key=lambda each: int(each.version)) if held else None

    def _all(self) -> list[Any]:
        return list(self._client.search_model_versions(f"name='{self.scenario}'"))

    def _model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(self.scenario)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _alias(self, alias: str, number: str) -> None:
        """Azure ML's registry has no aliases; the status tag says the same."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.set_registered_model_alias(self.scenario, alias, number)
        except (MlflowException, NotImplementedError) as error:
            if getattr(error, "error_code", "") in TRANSIENT:
                raise
            log.info("registry: no alias %s: %s", alias, type(error).__name__)

    @cached_property
    def _client(self) -> Any:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the next timer comes soon enough
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies' deprecations
            from mlflow import MlflowClient

            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.WARNING)
            return MlflowClient(self.uri)


def _mark(version: Any, aliases: Mapping[str, str] | None) -> str:
    """A version's status; "" when it lacks the status's alias or still is the challenger. None: there are no aliases.

    Who was champion keeps that alias until the next one takes it: there is one at any time.
    """
    status, number = str(version.tags.get(STATUS, "")), str(version.version)
    if aliases is None:
        return status
    wanted, last = ALIASES.get(status), aliases.get("challenger") == number
    return status if (wanted is None or aliases.get(wanted) == number) and last <= (wanted == "challenger") else ""
