"""The one control document that serving reads: `models/deployment.json`."""

from __future__ import annotations

import msgspec

from shared.validation import decoded

CONTAINER = "models"
NAME = "deployment.json"


class Deployment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who serves.

    Args:
        champion: Version that answers users, None before the first deployment.
        challenger: Version scored beside it, None without one.
        share: Share of devices that the challenger answers, 0 in shadow.
        salt: Makes the choice of these devices differ between rollouts; empty where the challenger is the champion of
            before, which stands guard.
        quarantine: Devices that are stored but not scored.
        position: Place in the ledger of the entry that this follows, -1 before the first.
    """

    champion: str | None = None
    challenger: str | None = None
    share: float = 0.0
    salt: str = ""
    quarantine: list[str] = []
    position: int = -1


def decode(raw: bytes) -> Deployment:
    """Read the document.

    Raises:
        ContractBroken: It is not one.
    """
    return decoded(raw, Deployment, f"{CONTAINER}/{NAME}")


def encode(deployment: Deployment) -> bytes:
    """Write the document as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(deployment), indent=2)
