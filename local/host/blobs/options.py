"""What a blob trigger declares: which blobs it means, and how they are handled."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobOptions:
    """host.json `extensions.blobs`, and how the local host looks for blobs.

    Args:
        parallel: Blobs handled at once per function.
        tries: Executions of one version of a blob before it is poison.
        poll_s: Seconds between two listings, and before the next try.
        expiry_s: Seconds after which a crashed host's claim is free.
    """

    parallel: int = 2
    tries: int = 5
    poll_s: float = 0.5
    expiry_s: float = 6.0

    @classmethod
    def from_host_json(cls, host_json: Mapping[str, Any], **local: float) -> "BlobOptions":
        """Read host.json; what it does not say keeps our defaults."""
        found = host_json.get("extensions", {}).get("blobs", {})
        names = {"parallel": "maxDegreeOfParallelism", "tries": "poisonBlobThreshold"}
        given: dict[str, Any] = {field: int(found[name]) for field, name in names.items() if name in found}
        return cls(**given | local)


def path_pattern(path: str) -> tuple[str, str, re.Pattern[str]]:
    """Container, literal prefix and pattern of the blob names that a trigger's path means.

    >>> path_pattern("incoming/raw/{name}.csv")[:2]
    ('incoming', 'raw/')
    >>> bool(path_pattern("incoming/{name}")[2].fullmatch("a/b 'c'.csv"))
    True
    """
    container, _, rest = path.partition("/")
    pieces = re.split(r"\{[^{}]+\}", rest)
    pattern = "(.+)".join(re.escape(piece) for piece in pieces) if rest else ".+"
    return container, pieces[0], re.compile(pattern, re.DOTALL)
