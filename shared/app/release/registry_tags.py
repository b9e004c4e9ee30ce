"""Status tags of the registry follow the ledger; a registry that is away gets them later and stops nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.app.ledger_store import Ledger
from shared.core.ledger import Entry
from shared.core.retrain.history import GATE, ROLLOUT
from shared.errors import PipelineError

log = logging.getLogger(__name__)
MARKED = "registered"
VERDICTS = {"promote": "passed", "refuse": "refused"}
ROUNDS = 8


@dataclass(frozen=True, slots=True)
class RegistryTags:
    """Brings the registry's mark of every version to what the newest step about it says.

    Args:
        ledger: Holds the steps, and which tags the registry has.
        tag: Sets a version's tag in the registry.
    """

    ledger: Ledger
    tag: Callable[[str, str], None]

    def sync(self) -> None:
        """Mark every version whose mark is not the newest; workers that do so at once end with the newest one."""
        mine: dict[str, tuple[str, int]] = {}  # what this call marked, and where it is entered
        for _ in range(ROUNDS):
            entries = self.ledger.entries()
            wanted, tags = wanted_tags(entries), [entry for entry in entries if entry.kind == MARKED]
            newest = {str(entry.data["about"]): (str(entry.data["as"]), entry.position) for entry in tags}
            behind = [
                version
                for version, status in wanted.items()
                if newest.get(version, ("", 0))[0] != status or mine.get(version, newest[version]) != newest[version]
            ]  # where another mark was entered behind or instead of mine, nobody knows which the registry got last
            if not behind:
                return
            counts, mine = Counter(str(entry.data["about"]) for entry in tags), {}
            for version in behind:
                status = wanted[version]
                try:
                    self.tag(version, status)
                except PipelineError as error:
                    log.warning("the registry does not know yet that %s is %s: %s", version, status, error)
                    return
                entry = self.ledger.append(MARKED, f"{version}/{counts[version]}", {"about": version, "as": status})
                mine[version] = status, entry.position


def wanted_tags(entries: Sequence[Entry]) -> dict[str, str]:
    """What the ledger says of every version that was judged or took part in a rollout, by its newest step."""
    found: dict[str, str] = {}
    before: Mapping[str, Any] = {}
    for entry in entries:
        if entry.kind == GATE and entry.data["version"]:
            found[str(entry.data["version"])] = VERDICTS.get(str(entry.data["kind"]), "undecided")
        if entry.kind == ROLLOUT:
            found.update(_statuses(before, entry.data))
            before = entry.data
    return found


def _statuses(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a step says: of those that it leaves behind, of the two that stand now, and of the one it is about."""
    here = {now["champion"], now["challenger"]}
    yield from ((str(each), "superseded") for each in (before.get("champion"), before.get("challenger"))
                if each and each not in here)  # fmt: skip
    if now["champion"]:
        yield str(now["champion"]), "champion"
    if now["challenger"]:
        yield str(now["challenger"]), str(now["stage"])
    if now["about"]:
        yield str(now["about"]), str(now["step"])
