"""The control document, changed by compare-and-swap so that two writers cannot undo each other's change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.errors import ContractBroken, StateConflict
from shared.ports import Blobs

TRIES = 8
Mend: TypeAlias = Callable[[ContractBroken], Deployment]


@dataclass(frozen=True, slots=True)
class ControlDocument:
    """Who serves, as serving reads it: `models/deployment.json`.

    Args:
        blobs: Where it stands.
    """

    blobs: Blobs

    def read(self) -> Deployment:
        """What it says now; an empty one before the first deployment.

        Raises:
            ContractBroken: It is not a control document.
        """
        return self._read()[0]

    def change(self, make: Callable[[Deployment], Deployment], mend: Mend | None = None) -> Deployment:
        """Change it; `make` sees what stands there and is called again when somebody else was faster.

        Args:
            make: What should stand there instead; the same document means that nothing is to be done.
            mend: Gives `make` something for what is no control document; without it such a thing stays as it is.

        Raises:
            ContractBroken: It is not a control document.
            StateConflict: Others were faster time and again.
        """
        for _ in range(TRIES):
            now, etag = self._read(mend)
            wanted = make(now)
            if wanted == now:
                return now
            try:
                self.blobs.replace(deployment.CONTAINER, deployment.NAME, deployment.encode(wanted), etag)
            except StateConflict:
                continue
            return wanted
        raise StateConflict(
            f"{deployment.CONTAINER}/{deployment.NAME} changed {TRIES} times while it was to be changed"
        )

    def _read(self, mend: Mend | None = None) -> tuple[Deployment, str | None]:
        found = self.blobs.read_changed(deployment.CONTAINER, deployment.NAME, None)
        if found is None:
            return Deployment(), None
        raw, etag = found
        try:
            return deployment.decode(raw), etag
        except ContractBroken as error:
            if mend is None:
                raise
            return mend(error), etag
