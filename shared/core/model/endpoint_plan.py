"""What an online endpoint needs next, from what it has and who is to serve.

Deployments are named by what they are made of, so that two workers that start the same one start one, and a change of
code or machine is rolled out like a new model: the old deployment answers until the new one is ready.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import ContractBroken

READY = "Succeeded"
FAILED = ("Failed", "Canceled")
SETTLED = (READY, *FAILED)
LONGEST_SLUG = 20  # of the 32 characters that a name may have


@dataclass(frozen=True, slots=True)
class Running:
    """A deployment of ours: name, model version and provisioning state."""

    name: str
    version: str
    state: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An endpoint: provisioning state, per cent of the traffic by deployment, and our deployments."""

    state: str
    traffic: Mapping[str, int]
    deployments: Sequence[Running]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is to serve: versions, the names of their deployments, and the challenger's share of the requests."""

    champion: str
    challenger: str | None
    share: float
    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start now, one kind of step at most; steps that follow wait for a later look.

    Args:
        traffic: Per cent by deployment, None to leave it.
        create: Versions whose deployments are to be made.
        delete: Names of deployments that nobody needs any more.
        failed: Wanted deployments that did not come up; they are left as they are, to be looked at.
    """

    traffic: Mapping[str, int] | None = None
    create: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def name_of(version: str, *made_of: object) -> str:
    """A deployment's name: letters, digits and -, at most 32 characters, another one for everything it is made of.

    >>> name_of("20261101-abc", "env:1") == name_of("20261101-abc", "env:2")
    False
    """
    digest = hashlib.blake2b("\0".join(map(str, (version, *made_of))).encode(), digest_size=4).hexdigest()
    return f"v{re.sub('[^A-Za-z0-9]+', '-', version)[:LONGEST_SLUG].strip('-')}-{digest}"


def plan(seen: Seen, wanted: Wanted) -> Plan:
    """The next step towards what is wanted; nothing while the endpoint itself is changing."""
    states = {each.name: each.state for each in seen.deployments}
    names = [wanted.names[version] for version in _versions(wanted)]
    failed = tuple(name for name in names if states.get(name) in FAILED)
    if seen.state not in SETTLED:
        return Plan(failed=failed)
    now = {name: percent for name, percent in seen.traffic.items() if percent}
    target = _traffic(seen, wanted, now)
    if target != now or seen.state in FAILED:
        return Plan(traffic=target, failed=failed)
    missing = tuple(version for version in _versions(wanted) if wanted.names[version] not in states)
    if missing:
        return Plan(create=missing, failed=failed)
    if states[names[0]] != READY:
        return Plan(failed=failed)
    gone = [each.name for each in seen.deployments if each.name not in {*names, *now} and each.state in SETTLED]
    return Plan(delete=tuple(gone), failed=failed)


def percent_of(share: float) -> int:
    """A share as whole per cent; one between 0 and 1 neither vanishes nor takes all.

    Raises:
        ContractBroken: It is not between 0 and 1.
    """
    if not 0 <= share <= 1:  # `not`, so that NaN is refused too
        raise ContractBroken(f"share {share} is not between 0 and 1")
    return min(99, max(1, round(100 * share))) if 0 < share < 1 else int(100 * share)


def _versions(wanted: Wanted) -> list[str]:
    """Champion and challenger, which in a shadow is kept ready without traffic."""
    return list(dict.fromkeys(each for each in (wanted.champion, wanted.challenger) if each is not None))


def _traffic(seen: Seen, wanted: Wanted, now: Mapping[str, int]) -> Mapping[str, int]:
    """Who should get what of those that are ready; as it is while the champion has no deployment that is."""
    champion = _ready(seen, wanted, wanted.champion, now)
    if champion is None:
        return now
    challenger = None if wanted.challenger is None else _ready(seen, wanted, wanted.challenger, now)
    percent = percent_of(wanted.share)
    if challenger in {None, champion} or not percent:
        return {champion: 100}
    shares = {champion: 100 - percent, str(challenger): percent}
    return {name: each for name, each in shares.items() if each}


def _ready(seen: Seen, wanted: Wanted, version: str, now: Mapping[str, int]) -> str | None:
    """The deployment that answers for a version: the wanted one, else an older one of the same version."""
    ready = [each.name for each in seen.deployments if each.version == version and each.state == READY]
    if wanted.names[version] in ready:
        return wanted.names[version]
    return min(ready, key=lambda name: (-now.get(name, 0), name), default=None)
