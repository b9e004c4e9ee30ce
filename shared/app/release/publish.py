"""Making a model package the one that serves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from shared.app.release.control import ControlDocument
from shared.core.model import deployment, manifest
from shared.core.model.deployment import Deployment
from shared.errors import ContractBroken
from shared.ports import Blobs, LoadModel


@dataclass(frozen=True, slots=True)
class Release:
    """Puts packages beside the control document and changes it by compare-and-swap.

    Args:
        blobs: Where packages and the control document stand.
        load: Checks a package as serving will.
    """

    blobs: Blobs
    load: LoadModel

    def publish(self, files: Mapping[str, bytes]) -> str:
        """Store a package after checking it as serving will; returns its version.

        Raises:
            ContractBroken: Serving would refuse it, or another package has its version already.
        """
        version = self.load(files).manifest.version
        for name in (*manifest.FILES, "manifest.json"):  # the manifest last: without it there is no package
            if not self.blobs.create(deployment.CONTAINER, f"{version}/{name}", files[name]):
                self._same(f"{version}/{name}", files[name])
        return version

    def deploy(self, version: str) -> Deployment:
        """Let a published package serve, while the ledger knows of no rollout; workers notice soon.

        Raises:
            ContractBroken: There is no such package, or the ledger leads already: then `Rollouts.install` is the way.
            StateConflict: Others changed the document time and again.
        """
        if self.blobs.info(deployment.CONTAINER, f"{version}/manifest.json") is None:
            raise ContractBroken(f"there is no package {version} to deploy")

        def serve(now: Deployment) -> Deployment:
            if now.position >= 0:
                raise ContractBroken(
                    f"{version} has to be installed as a rollout: the ledger leads the control document"
                )
            return msgspec.structs.replace(now, champion=version)

        return ControlDocument(self.blobs).change(serve)

    def _same(self, name: str, data: bytes) -> None:
        if self.blobs.read(deployment.CONTAINER, name) != data:
            raise ContractBroken(f"{deployment.CONTAINER}/{name} exists with other content")
