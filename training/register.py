"""`python -m training.register`: registers the training job's environment and component in a workspace, once.

A version is the hash of what it is made of, so that running it again changes nothing, and a job that refers to a
version always means the same code and packages.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.adapters.models.azureml_client import Workspace
from shared.adapters.models.azureml_errors import is_place, translated
from shared.errors import PipelineError
from training.azureml.versions import AZUREML, IMAGE, component_version, environment_version

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Register; returns 0, or 1 with the reason on standard error."""
    given = _parser().parse_args(arguments)
    try:
        client = Workspace(given.subscription, given.resource_group, given.workspace).client
        component = register(client, given.version)
    except PipelineError as error:
        sys.stderr.write(f"register: {error}\n")
        return FAILED
    sys.stdout.write(f"AZUREML_COMPONENT={component}\n")
    return 0


def register(client: Any, version: str | None = None) -> str:
    """Register what is not there yet; returns the component as `name:version`.

    Args:
        client: The workspace's client.
        version: Version of the component, None for the hash of its code.

    Raises:
        TransientFailure: The workspace does not answer for now.
        ConfigError: It refuses.
    """
    from azure.ai.ml import load_component, load_environment

    with tempfile.TemporaryDirectory() as folder:
        environment: Any = load_environment(AZUREML / "environment.yml")
        environment.version = environment_version()
        environment.build.path = _image_context(Path(folder))
        _once(client.environments, environment)
    component: Any = load_component(AZUREML / "component.yml")
    component.version = version or component_version()
    component.environment = f"azureml:{environment.name}:{environment.version}"
    _once(client.components, component)
    return f"{component.name}:{component.version}"


def _image_context(folder: Path) -> str:
    """The files that the image is built from alone, so that other changes of the code upload nothing."""
    for path in IMAGE:
        shutil.copy(path, folder / path.name)
    return str(folder)


def _once(operations: Any, asset: Any) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    named = f"{asset.name}:{asset.version}"
    with translated(f"register {named}", "AZUREML_WORKSPACE"):
        try:
            operations.get(asset.name, asset.version)
            sys.stderr.write(f"{named} is registered\n")
        except ResourceNotFoundError as error:
            if is_place(error):
                raise
            sys.stderr.write(f"registering {named} ...\n")
            operations.create_or_update(asset)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.register", description="Register the training job in an Azure ML workspace."
    )
    parser.add_argument("--subscription", required=True, metavar="ID", help="id of the subscription")
    parser.add_argument("--resource-group", required=True, metavar="NAME", help="resource group of the workspace")
    parser.add_argument("--workspace", required=True, metavar="NAME", help="the workspace")
    parser.add_argument("--version", help="version of the component (default: the hash of its code)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
