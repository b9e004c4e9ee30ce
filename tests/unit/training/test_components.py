"""What Azure Machine Learning is told of the training job: files that its own client accepts, offline."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

from shared.adapters.jobs import local as local_jobs
from shared.adapters.jobs.azureml import NO_CHAMPION
from shared.core.retrain.job_spec import JobSpec
from shared.errors import ConfigError
from training import __main__ as command_line
from training import __main__ as training_main
from training import register, steps
from training.azureml import versions
from training.model import search

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # azure-ai-ml's, of its own dependencies
PRINT = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ.get('AZURE_CLIENT_ID')]))"


def load(name: str) -> Any:
    from azure.ai.ml import load_component, load_environment, load_job

    kinds: dict[str, Any] = {"component": load_component, "step": load_component, "trial": load_component}
    return {**kinds, "environment": load_environment}.get(name, load_job)(versions.AZUREML / f"{name}.yml")


def run_as_azure_does(command: str, inputs: dict[str, str], folder: Path, **environment: str) -> list[Any]:
    """Fill in a command's inputs, run it in a shell whose `python` tells its arguments; gives those, and the identity.

    A bracketed part whose input is missing is left out.
    """
    fake = folder / "python"
    fake.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(PRINT)} "$@"\n')
    fake.chmod(0o755)
    command = re.sub(r"\$\[\[(.*?)\]\]", lambda m: m[1] if set(names(m[1])) <= set(inputs) else "", command)
    for name, value in inputs.items():
        command = re.sub(r"\$\{\{(inputs|outputs)\." + name + r"\}\}", value, command)
    assert "${{" not in command
    env = {"PATH": f"{folder}:/usr/bin:/bin", **environment}
    done = subprocess.run(["/bin/bash", "-c", command], env=env, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    found: list[Any] = json.loads(done.stdout)
    return found


def names(text: str) -> list[str]:
    return re.findall(r"\$\{\{(?:inputs|outputs)\.(\w+)\}\}", text)


@pytest.mark.parametrize("name", ["component", "step", "trial", "pipeline", "sweep"])
def test_the_client_accepts_the_file(name: str) -> None:
    found = load(name)._validate()
    assert found.passed, found


@pytest.mark.parametrize("name", ["component", "step", "trial"])
def test_a_command_uses_every_input_and_no_other(name: str) -> None:
    component = load(name)
    assert set(names(component.command)) == {*component.inputs, *component.outputs}


@pytest.mark.parametrize("champion", [NO_CHAMPION, "20261101-abc"])
def test_the_components_command_is_the_one_that_a_local_job_runs(champion: str, tmp_path: Path) -> None:
    inputs = {"scenario": "air_quality", "dataset": "lake@12", "champion": champion, "job": "air_quality-000007"}
    ran, identity = run_as_azure_does(load("component").command, inputs, tmp_path)
    spec = JobSpec(
        name=inputs["job"],
        scenario=inputs["scenario"],
        reason="drift",
        dataset=inputs["dataset"],
        champion=None if champion == NO_CHAMPION else champion,
    )
    local = local_jobs.training_command("python", Path("package"), spec)[1:]
    assert sorted(ran) == sorted(local)
    assert identity is None


def test_the_clusters_identity_is_named_to_the_storage_client(tmp_path: Path) -> None:
    inputs = {"scenario": "s", "dataset": "lake@1", "champion": "none", "job": "s-1"}
    _, identity = run_as_azure_does(load("component").command, inputs, tmp_path, DEFAULT_IDENTITY_CLIENT_ID="abc")
    assert identity == "abc"


def test_the_training_command_knows_the_flags_that_the_component_gives(tmp_path: Path) -> None:
    inputs = {"scenario": "air_quality", "dataset": "lake@12", "champion": "20261101-abc", "job": "air_quality-000007"}
    (_, _, *flags), _ = run_as_azure_does(load("component").command, inputs, tmp_path)
    given = command_line.parser().parse_args(flags)
    assert (given.scenario, given.lake, given.champion) == ("air_quality", "lake@12", "20261101-abc")
    assert (given.job, given.publish) == ("air_quality-000007", True)


def test_the_inputs_of_the_component_are_those_that_a_submission_gives() -> None:
    inputs = load("component").inputs
    assert set(inputs) == {"scenario", "dataset", "champion", "job"}
    assert inputs["champion"].default == NO_CHAMPION


def test_the_snapshot_holds_the_code_and_nothing_else() -> None:
    with load("component")._build_code() as code:
        root = Path(code.path)
        assert {path.name for path in root.iterdir()} == {"training", "shared", "scenarios"}
        assert (root / "training" / "__main__.py").is_file()
        assert not [*root.rglob("__pycache__")]
        assert not [*root.rglob("local.settings*")]


def test_the_pipeline_runs_the_five_steps_one_after_the_other(tmp_path: Path) -> None:
    jobs = load("pipeline").jobs
    assert list(jobs) == ["validate", "prepare", "train", "evaluate", "register"]
    for name, node in jobs.items():
        given = {key: f"in-{key}" for key in node._build_inputs()} | {"step": name, "to": "out"}
        ran, _ = run_as_azure_does(node.component.command, given, tmp_path)
        assert ran[:3] == ["-m", "training.steps", name]
        own, others = steps._parser().parse_known_args(ran[2:])
        assert own.step == name
        assert others == ["--scenario", "in-scenario", "--lake", "in-dataset"]
        needed = {"prepare": {"checked"}, "train": {"prepared"}, "evaluate": {"prepared", "trained"}}
        needed["register"] = {"trained", "evaluated"}
        assert {key for key in steps.FOLDERS if getattr(own, key)} == needed.get(name, set())


def test_the_sweep_draws_from_the_space_of_the_search_and_compares_what_a_trial_logs() -> None:
    node = load("sweep").jobs["sweep"]
    assert (node.objective.goal, node.objective.primary_metric) == ("minimize", steps.PRIMARY_METRIC)
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    search.suggest(drawn)
    assert set(node.search_space) == set(drawn.distributions)
    for name, space in node.search_space.items():
        wanted: Any = drawn.distributions[name]
        if name == "depth":
            assert list(space.values) == [*range(wanted.low, wanted.high + 1)]
        else:
            assert [math.exp(space.min_value), math.exp(space.max_value)] == pytest.approx(
                [wanted.low, wanted.high], rel=1e-3
            )


class Shelf:
    """Registered assets of one kind."""

    def __init__(self) -> None:
        self.assets: dict[tuple[str, str], Any] = {}

    def get(self, name: str, version: str) -> Any:
        from azure.core.exceptions import ResourceNotFoundError

        if (name, version) not in self.assets:
            raise ResourceNotFoundError("not found")
        return self.assets[name, version]

    def create_or_update(self, asset: Any) -> None:
        assert (asset.name, asset.version) not in self.assets
        context = getattr(asset, "build", None)
        files = sorted(path.name for path in Path(context.path).iterdir()) if context else []
        self.assets[asset.name, asset.version] = (asset, files)


class Workspace:
    """The two operations of a client that registering needs."""

    def __init__(self) -> None:
        self.environments = Shelf()
        self.components = Shelf()


def test_registering_twice_registers_once_and_the_component_names_its_environment() -> None:
    workspace = Workspace()
    first = register.register(workspace)
    assert register.register(workspace) == first
    ((name, version), (_, files)), *more = workspace.environments.assets.items()
    assert files == ["Dockerfile", "requirements.txt"]
    assert not more
    (component, _), *others = workspace.components.assets.values()
    assert not others
    assert component.environment == f"azureml:{name}:{version}"
    assert first == f"{component.name}:{component.version}"


def test_a_version_that_is_given_is_taken() -> None:
    assert register.register(Workspace(), "2026.11") == "airloop_training:2026.11"


def test_a_version_is_the_hash_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = versions.component_version()
    assert versions.component_version() == before
    assert re.fullmatch(r"[0-9a-f]{16}", before)
    one, two = tmp_path / "a.py", tmp_path / "b.py"
    one.write_text("x")
    two.write_text("y")
    monkeypatch.setattr(versions, "CODE", tmp_path)
    both = versions._hash([one, two])
    assert versions._hash([two, one]) == both
    two.write_text("z")
    assert versions._hash([one, two]) != both


def test_what_registering_says_is_the_applications_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--subscription", "s", "--resource-group", "g", "--workspace", "w"]
    monkeypatch.setattr(register, "Workspace", lambda *_: SimpleNamespace(client=Workspace()))
    assert register.main([*flags, "--version", "5"]) == 0
    assert capsys.readouterr().out == "AZUREML_COMPONENT=airloop_training:5\n"

    def refuse(*_: str) -> None:
        raise ConfigError("AZUREML_WORKSPACE: there is none")

    monkeypatch.setattr(register, "Workspace", refuse)
    assert register.main(flags) == 1
    assert "AZUREML_WORKSPACE" in capsys.readouterr().err


def test_a_job_without_a_repository_tells_the_version_of_its_component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # without git
    assert training_main._code_version() == versions.component_version()
