"""What code this is: a hash of all that goes with the training job, the same wherever it runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

CODE = Path(__file__).resolve().parents[2]
AZUREML = CODE / "training" / "azureml"  # components, environment and image as Azure Machine Learning takes them
INCLUDED = ("shared", "scenarios", "training")
SUFFIXES = (".py", ".toml", ".yml", ".txt")
IMAGE = (AZUREML / "Dockerfile", CODE / "training" / "requirements.txt")
VERSION_LENGTH = 16


def environment_version() -> str:
    """Version of the environment: the hash of what its image is built from."""
    return _hash(IMAGE)


def component_version() -> str:
    """Version of the component: the hash of all code that goes with it, and of its environment."""
    files = (path for name in INCLUDED for path in (CODE / name).rglob("*") if path.suffix in SUFFIXES)
    return _hash([*files, AZUREML / "Dockerfile"])


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(CODE).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:VERSION_LENGTH]
