"""The control document under several writers."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from shared.app.release.control import TRIES, ControlDocument
from shared.app.release.publish import Release
from shared.core.model.deployment import Deployment
from shared.errors import ContractBroken, StateConflict
from tests import kit
from tests.kit import MemoryBlobs


def test_before_the_first_deployment_the_document_is_empty() -> None:
    assert ControlDocument(MemoryBlobs()).read() == Deployment()


def test_a_change_that_changes_nothing_writes_nothing() -> None:
    blobs = MemoryBlobs()
    assert ControlDocument(blobs).change(lambda now: now) == Deployment()
    assert blobs.read("models", "deployment.json") is None


def test_a_change_made_meanwhile_is_kept() -> None:
    blobs = MemoryBlobs()
    other = ControlDocument(blobs)
    met: list[list[str]] = []

    def slowly(now: Deployment) -> Deployment:
        if not met:
            other.change(lambda found: msgspec.structs.replace(found, quarantine=["b"]))
        met.append(now.quarantine)
        return msgspec.structs.replace(now, quarantine=[*now.quarantine, "a"])

    assert ControlDocument(blobs).change(slowly).quarantine == ["b", "a"]
    assert met == [[], ["b"]]
    assert other.read().quarantine == ["b", "a"]


def test_who_is_always_too_late_is_told() -> None:
    blobs = MemoryBlobs()

    def never(now: Deployment) -> Deployment:
        ControlDocument(blobs).change(lambda found: msgspec.structs.replace(found, salt=found.salt + "."))
        return msgspec.structs.replace(now, champion="v1")

    with pytest.raises(StateConflict, match=f"changed {TRIES} times"):
        ControlDocument(blobs).change(never)


def test_a_damaged_document_is_not_replaced() -> None:
    blobs = MemoryBlobs()
    blobs.write("models", "deployment.json", b"{")
    with pytest.raises(ContractBroken, match=r"models/deployment\.json"):
        ControlDocument(blobs).change(lambda now: msgspec.structs.replace(now, champion="v1"))
    assert blobs.read("models", "deployment.json") == b"{"


def test_a_damaged_document_is_replaced_where_something_stands_in_for_it() -> None:
    blobs, errors = MemoryBlobs(), []
    blobs.write("models", "deployment.json", b"{")

    def mend(error: ContractBroken) -> Deployment:
        errors.append(str(error))
        return Deployment(salt="s")

    control = ControlDocument(blobs)
    found = control.change(lambda now: msgspec.structs.replace(now, champion="v1"), mend)
    assert found == control.read() == Deployment(champion="v1", salt="s")
    assert len(errors) == 1
    assert control.change(lambda now: now, mend) == found
    assert len(errors) == 1  # what can be read is left alone


@dataclass(frozen=True)
class Deploying:
    """A store with a package, and the release that deploys it."""

    blobs: MemoryBlobs
    release: Release


@pytest.fixture
def deploying() -> Deploying:
    blobs = MemoryBlobs()
    kit.publish(blobs, "v1")
    return Deploying(blobs, Release(blobs, kit.load))


def test_deploying_keeps_the_quarantine(deploying: Deploying) -> None:
    kit.deploy(deploying.blobs, None, ["d"])
    assert deploying.release.deploy("v1") == Deployment(champion="v1", quarantine=["d"])
    assert ControlDocument(deploying.blobs).read() == Deployment(champion="v1", quarantine=["d"])


def test_what_is_not_published_is_not_deployed(deploying: Deploying) -> None:
    with pytest.raises(ContractBroken, match="no package v2"):
        deploying.release.deploy("v2")


def test_once_the_ledger_leads_a_package_is_installed_as_a_rollout(deploying: Deploying) -> None:
    ControlDocument(deploying.blobs).change(lambda now: msgspec.structs.replace(now, position=3))
    with pytest.raises(ContractBroken, match="v1 has to be installed as a rollout"):
        deploying.release.deploy("v1")
