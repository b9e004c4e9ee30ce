"""What names a model version: itself, its run, dataset, code and job, from packages, ledger and registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from shared.app.lookback.commit_history import CommitHistory
from shared.app.lookback.explain import model_facts
from shared.app.lookback.explanation import ModelFacts
from shared.core.ledger import Entry
from shared.core.model import deployment, manifest
from shared.core.retrain.history import GATE, ROLLOUT
from shared.errors import ConfigError, ContractBroken

Kind = Literal["forecast", "version", "run", "dataset", "code", "job"]
KINDS: tuple[Kind, ...] = ("version", "run", "dataset", "code", "job")
SHORTENED: tuple[Kind, ...] = ("run", "code")
SHORTEST = 7  # characters that may stand for the whole
JUDGED: tuple[tuple[Kind, str], ...] = (("run", "run_id"), ("dataset", "dataset"), ("job", "job"))


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A model version as it stands in the registry."""

    number: str
    run_id: str
    tags: dict[str, str]
    aliases: list[str]


@dataclass(frozen=True, slots=True)
class Known:
    """Everything that names a model version.

    Args:
        packages: What packages say, by version.
        problems: Why a package cannot be read, by version.
        names: Version, and what else stands for it: kind and text.
        jobs: Jobs by version.
        entries: The ledger.
    """

    packages: dict[str, ModelFacts]
    problems: dict[str, str]
    names: list[tuple[str, Kind, str]]
    jobs: dict[str, set[str]]
    entries: Sequence[Entry]

    @classmethod
    def of(cls, history: CommitHistory, entries: Sequence[Entry], registered: Mapping[str, Registered]) -> Known:
        """Look through packages, ledger and registry."""
        packages, problems = _packages(history)
        names: list[tuple[str, Kind, str]] = []
        jobs: dict[str, set[str]] = {}
        for version, facts in packages.items():
            names += [(version, "run", facts.run_id), (version, "dataset", facts.dataset)]
            names += [(version, "code", facts.code_version)]
        for version, each in registered.items():
            names += [(version, "run", each.run_id), (version, "dataset", each.tags.get("dataset", ""))]
        for entry in entries:
            judged = entry.data.get("version") if entry.kind == GATE else None
            if isinstance(judged, str):
                jobs.setdefault(judged, set()).add(str(entry.data.get("job", "")))
                names += [(judged, kind, str(entry.data.get(name) or "")) for kind, name in JUDGED]
        steps = [str(entry.data["about"]) for entry in entries if entry.kind == ROLLOUT and entry.data.get("about")]
        everything = dict.fromkeys([*packages, *problems, *registered, *jobs, *steps])
        names += [(version, "version", version) for version in everything]
        return cls(packages, problems, names, jobs, entries)

    def matching(self, what: str) -> tuple[Kind, list[str]]:
        """Kind of a name and the versions it stands for, oldest first.

        Raises:
            ConfigError: It stands for none.
        """
        for fits in (str.__eq__, str.startswith):
            for kind in KINDS:
                found = {version for version, each, text in self.names if each == kind and text and fits(text, what)}
                if found and (fits is str.__eq__ or (len(what) >= SHORTEST and kind in SHORTENED)):
                    return kind, sorted(found, key=self._age)
        versions = ", ".join(sorted({version for version, _, _ in self.names})[-8:]) or "none"
        raise ConfigError(
            f"{what[:80]!a} is no forecast, model version, run, dataset version, code version or job known here; "
            f"newest versions: {versions}"
        )

    def _age(self, version: str) -> tuple[str, str]:
        facts = self.packages.get(version)
        return (facts.created if facts else "", version)


def _packages(history: CommitHistory) -> tuple[dict[str, ModelFacts], dict[str, str]]:
    """What the stored packages say of themselves, and why others cannot be read, by version."""
    packages, problems = {}, {}
    ending = "/manifest.json"
    for name in history.blobs.names(deployment.CONTAINER):
        version = name.removesuffix(ending)
        if not name.endswith(ending) or "/" in version:
            continue
        try:
            packages[version] = model_facts(
                manifest.decode_manifest(history.blobs.read(deployment.CONTAINER, name) or b"")
            )
        except ContractBroken as error:
            problems[version] = str(error)
    return packages, problems
