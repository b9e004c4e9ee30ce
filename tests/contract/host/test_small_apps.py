"""Both workers judge small apps alike: from Python 3.13 on the vendor's runtime is asked, below that our imitation."""

import importlib.metadata
import json
import subprocess
import sys
from typing import Any

import pytest

from local.host.worker.vendor import PACKAGE, VERSION
from tests import ROOT
from tests.contract.host.small_apps import APPS, HEAD


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    root = tmp_path_factory.mktemp("apps")
    for number, app in enumerate(APPS.values()):
        (root / str(number)).mkdir()
        (root / str(number) / "function_app.py").write_text(HEAD + app.source, "utf-8")
    folders = [str(root / str(number)) for number in range(len(APPS))]
    command = [sys.executable, "-m", "tests.contract.host.judge", *folders]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603
    return dict(zip(APPS, map(json.loads, told.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", APPS)
def test_a_small_app_is_judged_as_the_vendor_judges_it(verdicts: dict[str, dict[str, Any]], name: str) -> None:
    app, verdict = APPS[name], verdicts[name]
    assert ("functions" in verdict) == app.taken, verdict
    if not app.taken:
        assert "the app has no functions" in verdict["refused"]
        return
    missing = verdict["functions"]["work"]
    assert (missing is None) == (app.missing is None)
    assert (app.missing or "") in (missing or "")


def test_there_are_45_of_them() -> None:
    assert len(APPS) == 45


def test_the_pinned_runtime_is_the_one_that_the_host_was_written_for() -> None:
    pins = (ROOT / "requirements-dev.txt").read_text("utf-8")
    assert f"{PACKAGE}=={VERSION};" in pins
    if sys.version_info >= (3, 13):
        assert importlib.metadata.version(PACKAGE) == VERSION
