"""The entry script of an online endpoint: `init` once in each process, `run` for each request."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:  # the server starts this file by its path
    sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from training.scoring.answers import Answers

_answers: Answers | None = None


def init() -> None:
    """Load and check the package below AZUREML_MODEL_DIR; a broken one fails the deployment.

    Raises:
        ContractBroken: There is no package, it is damaged, or not of the version AIRLOOP_VERSION.
    """
    global _answers
    from training.scoring.answers import load

    _answers = load(Path(os.environ["AZUREML_MODEL_DIR"]), os.environ.get("AIRLOOP_VERSION"))


def run(raw: str | bytes) -> dict[str, Any]:
    """Answer a request; see `answers.Answers.of`.

    Args:
        raw: The body, JSON.

    Returns:
        `forecasts` and `model_version`, or `errors`, each with key, reason and detail.
    """
    assert _answers is not None, "init comes first"  # noqa: S101 - a server that breaks this is not ours to answer
    return _answers.of(raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else raw)
