"""Who may speak for whom: a device for itself, and a gateway that the scenario trusts for others."""

from __future__ import annotations

from fnmatch import fnmatchcase

from shared.core.intake.readings import shown
from shared.core.intake.values.quantities import missing
from shared.core.scenario import Scenario
from shared.errors import BadEvent

LONGEST_INTEGER = 400  # bits of a number that is a device id


class Identities:
    """Judges the names that bodies and envelopes claim.

    Args:
        scenario: Says which gateways are trusted, and which names are nobody's.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._gateways = scenario.trusted_gateways
        self._placeholders = frozenset(scenario.names.placeholders)

    def speaker(self, claimed: object, identity: str) -> str | None:
        """The device of a record for which the hub vouches, None where the one that is claimed counts.

        Args:
            claimed: What the record says.
            identity: Device that the hub authenticated.

        Raises:
            BadEvent: `identity_mismatch`, it claims to be another device and its sender may not speak for that.
        """
        if self._nobody(claimed) or _same(claimed, identity):
            return identity
        if any(fnmatchcase(identity, pattern) for pattern in self._gateways):
            return None
        raise BadEvent("identity_mismatch", f"sent by {shown(identity)}, the body says {shown(claimed)}")

    def _nobody(self, claimed: object) -> bool:
        return claimed is None or (isinstance(claimed, str) and (missing(claimed) or claimed in self._placeholders))


def _same(claimed: object, identity: str) -> bool:
    if isinstance(claimed, str):
        return claimed.strip() == identity
    return type(claimed) is int and claimed.bit_length() < LONGEST_INTEGER and str(claimed) == identity
