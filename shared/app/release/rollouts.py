"""How a challenger climbs to champion and how a bad champion is taken back: every step stands in the ledger first.

The newest ledger entry of kind ROLLOUT says who is to serve; the control document follows it. A crash between the two
is mended by the next look, and a look that comes twice finds its step taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.app.ledger_store import ACTOR, Ledger
from shared.app.release.control import ControlDocument
from shared.app.release.refusals import CheckPackage, refusal, step_back
from shared.app.release.registry_tags import RegistryTags
from shared.core.ledger import Entry, find
from shared.core.model import deployment, manifest
from shared.core.model.deployment import Deployment
from shared.core.profile.merged import MergedProfile
from shared.core.retrain.history import ROLLOUT
from shared.core.rollout import decide
from shared.core.rollout.decide import Step
from shared.core.rollout.improvement import Days, improvement
from shared.core.rollout.labels import health, matured_days, paired_days
from shared.core.rollout.status import CLIMBING, RolloutStatus, Stage, after, newest_step, promoted
from shared.core.scenario import Scenario
from shared.core.task.calendar import DAY_HOURS
from shared.errors import ContractBroken, StateConflict
from shared.ports import Blobs

log = logging.getLogger(__name__)
APPROVAL, PAUSE = "approval", "pause"
MeasureLatency = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The rollouts of one scenario.

    Args:
        scenario: Ladder and limits.
        blobs: Where packages stand.
        ledger: Where every step is written.
        control: What serving reads.
        latency_ms: Measures a version's time for one forecast, NaN when it cannot.
        tags: Bring the registry along.
        check: Loads a version as serving does, or raises ContractBroken.
    """

    scenario: Scenario
    blobs: Blobs
    ledger: Ledger
    control: ControlDocument
    latency_ms: MeasureLatency
    tags: RegistryTags
    check: CheckPackage

    def current(self, entries: Sequence[Entry] | None = None) -> tuple[RolloutStatus, int]:
        """Who is to serve, and the position of the entry that says so, -1 before the first."""
        newest = newest_step(self.ledger.entries() if entries is None else entries)
        if newest is None:
            return RolloutStatus(step="", stage="none", champion=self.control.read().champion), -1
        return msgspec.convert(newest.data, RolloutStatus), newest.position

    def follow(self, *, look: bool = False) -> Deployment:
        """Bring control document and registry to where the ledger stands; nothing happens when they are there.

        With `look` the registry's marks are read even if all were made.

        Raises:
            ContractBroken: The ledger lost entries, or the document is none and the ledger knows of no step.
        """
        found = self.control.change(self._followed, self._mended)
        self.tags.sync(look=look)
        return found

    def begin(self, version: str, day: int) -> RolloutStatus:
        """Put a version that passed the gate beside the champion; without a champion it becomes champion.

        One whose package serving refuses is refused here too, and leaves all others where they stand.

        Raises:
            ContractBroken: There is no such package.
            StateConflict: Another challenger is still on its way.
        """
        self._package(version)
        damage = "" if self._begun(version) else self._refusal(version)

        def make(now: RolloutStatus, _: Sequence[Entry]) -> RolloutStatus | None:
            if now.stage in CLIMBING:
                raise StateConflict(f"{now.challenger} is still on its way: {version} has to wait")
            if now.stage == "guard":
                raise StateConflict(f"{now.challenger} still guards {now.champion}: {version} has to wait")
            if damage:
                return msgspec.structs.replace(now, step="refused", about=version, reasons=(damage,), evidence={})
            if now.champion is None:
                return RolloutStatus(step="installed", stage="none", champion=version, about=version, since_day=day,
                             reasons=("the first champion",))  # fmt: skip
            return RolloutStatus(step="shadow", stage="shadow", champion=now.champion, challenger=version, salt=version,
                         since_day=day, rung_day=day, about=version, reasons=("passed the gate",))  # fmt: skip

        return self._take(begin_key(version), make, ACTOR)

    def install(self, version: str, day: int, actor: str, key: str) -> RolloutStatus:
        """Let a person put a version in the champion's place; the one before stays beside it as its guard.

        Args:
            version: A published package.
            day: Today, days since 1970.
            actor: Who does it.
            key: Identity of the request: the same one again changes nothing.

        Raises:
            ContractBroken: There is no such package, or serving refuses it.
        """
        self._package(version)
        if find(self.ledger.entries(), ROLLOUT, f"install/{version}/{key}") is None:
            self._usable(version)

        def make(now: RolloutStatus, _: Sequence[Entry]) -> RolloutStatus | None:
            return None if now.champion == version else promoted(now, version, day, "installed", (f"by {actor}",))

        return self._take(f"install/{version}/{key}", make, actor)

    def tick(self, merged: MergedProfile) -> Step | None:
        """Look at the labels that have matured and take the step that follows; None when nothing is on its way."""
        current, position = self.current()
        self.follow(look=True)
        one, other = (
            refusal(self.ledger, self.check, each, position) for each in (current.champion, current.challenger)
        )
        if current.stage == "none":
            return None
        step = step_back(current.stage, current.share, one, other, self.scenario.rollout)
        step = step or self._decided(current, paired_days(merged, current), merged)
        following = self._following(current, step, merged)
        if following is None:
            return step

        def make(now: RolloutStatus, entries: Sequence[Entry]) -> RolloutStatus | None:
            return following if now == current and not self._held(current, step, entries) else None

        taken = self._take(_key(following, position), make, ACTOR)
        return self._unless_held(current, step) if taken == current else step

    def request(self, action: str, day: int, actor: str, key: str) -> RolloutStatus:
        """What a person asks for: approve, promote, roll_back, pause or resume.

        Raises:
            ContractBroken: There is no such action, nothing it could be about, or serving refuses the new champion.
            StateConflict: The rollout took a step meanwhile after which the action would mean something else.
        """
        if action in {"pause", "resume", "approve"}:
            return self._note(action, actor, key)
        if find(self.ledger.entries(), ROLLOUT, f"{action}/{key}") is not None:
            self.follow()
            return self.current()[0]
        current, _ = self.current()
        step = self._asked(action, actor)
        wanted = after(current, step, day)
        if wanted is None:
            raise ContractBroken(f"{action}: there is no challenger and no guard to do it with")
        if wanted.champion is not None and wanted.champion != current.champion:
            self._usable(wanted.champion)

        def make(now: RolloutStatus, _: Sequence[Entry]) -> RolloutStatus | None:
            again = after(now, step, day)
            if again is None or _aim(again) != _aim(wanted):
                raise StateConflict(f"{action}: not done, for {now.about} became {now.step} meanwhile")
            return again

        return self._take(f"{action}/{key}", make, actor)

    def _decided(self, current: RolloutStatus, days: Days, merged: MergedProfile) -> Step:
        if current.stage == "guard":
            return decide.guard(days, self.scenario.rollout, matured_days(merged, current))
        found = health(self.scenario, merged, current, self.latency_ms(current.challenger or ""))
        step = decide.decide(current.share, days, found, self.scenario.rollout, current.rung_day)
        return self._unless_held(current, step)

    def _unless_held(self, current: RolloutStatus, step: Step) -> Step:
        held = self._held(current, step, self.ledger.entries())
        return msgspec.structs.replace(step, kind="hold", share=current.share, reasons=(held,)) if held else step

    def _held(self, current: RolloutStatus, step: Step, entries: Sequence[Entry]) -> str:
        """Why a challenger may not climb now although its labels say so, "" when it may."""
        if current.stage not in CLIMBING or step.kind in {"hold", "roll_back"}:
            return ""
        about = [entry for entry in entries if entry.data.get("about") == current.challenger]
        pauses = [entry for entry in about if entry.kind == PAUSE]
        if pauses and pauses[-1].data["action"] == "pause":
            return f"paused by {pauses[-1].actor}"
        needs = self.scenario.rollout.approval and current.stage == "shadow"
        return "waits for approval" if needs and not any(entry.kind == APPROVAL for entry in about) else ""

    def _following(self, current: RolloutStatus, step: Step, merged: MergedProfile) -> RolloutStatus | None:
        return None if step.kind == "hold" else after(current, step, merged.newest_hour // DAY_HOURS)

    def _asked(self, action: str, actor: str) -> Step:
        kinds: Mapping[str, decide.Kind] = {"promote": "promote", "roll_back": "roll_back"}
        if action not in kinds:
            raise ContractBroken(f"{action[:40]!r} is not one of approve, pause, promote, resume, roll_back")
        nothing = improvement(Days.of({}), self.scenario.rollout)
        share = 1.0 if action == "promote" else 0.0
        return Step(kind=kinds[action], share=share, reasons=(f"asked for by {actor}",), improvement=nothing)

    def _take(
        self, key: str, make: Callable[[RolloutStatus, Sequence[Entry]], RolloutStatus | None], actor: str
    ) -> RolloutStatus:
        """Write a step that follows from where things stand, and follow it."""

        def entry(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]] | None:
            if find(entries, ROLLOUT, key) is not None:
                return None
            made = make(self.current(entries)[0], entries)
            return None if made is None else (key, msgspec.to_builtins(made))

        self.ledger.decide(ROLLOUT, entry, actor)
        self.follow()
        return self.current()[0]

    def _note(self, action: str, actor: str, key: str) -> RolloutStatus:
        """Enter what a person says of the challenger that is on its way."""

        def entry(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]]:
            current, _ = self.current(entries)
            if current.stage not in CLIMBING:
                raise ContractBroken(f"{action}: no challenger is on its way")
            return f"{action}/{current.challenger}/{key}", {"action": action, "about": current.challenger}

        self.ledger.decide(APPROVAL if action == "approve" else PAUSE, entry, actor)
        return self.current()[0]

    def _followed(self, now: Deployment) -> Deployment:
        """The control document as the ledger wants it."""
        entries = self.ledger.entries()  # read after the document: what that follows is among them
        newest, step = len(entries) - 1, newest_step(entries)
        if now.position > newest:
            raise ContractBroken(
                f"the ledger ends with entry {newest}, but the control document follows entry {now.position}: "
                "entries are lost"
            )
        if step is None or now.position > step.position:
            return now
        current = msgspec.convert(step.data, RolloutStatus)
        return msgspec.structs.replace(
            now,
            champion=current.champion,
            challenger=current.challenger,
            share=current.share,
            salt=current.salt,
            position=step.position,
        )

    def _mended(self, error: ContractBroken) -> Deployment:
        """What takes the place of a control document that is none; the next check finds faulty devices again."""
        if newest_step(self.ledger.entries()) is None:
            raise error
        log.error("%s; it is written anew from the ledger, without the quarantine", error)
        return Deployment()

    def _begun(self, version: str) -> bool:
        return find(self.ledger.entries(), ROLLOUT, begin_key(version)) is not None

    def _refusal(self, version: str) -> str:
        return refusal(self.ledger, self.check, version, self.current()[1])

    def _usable(self, version: str) -> None:
        if why := self._refusal(version):
            raise ContractBroken(why)

    def _package(self, version: str) -> None:
        if not manifest.VERSION.fullmatch(version):
            raise ContractBroken(f"version {version[:80]!r} is not of the form {manifest.VERSION.pattern}")
        if self.blobs.info(deployment.CONTAINER, f"{version}/manifest.json") is None:
            raise ContractBroken(f"there is no package {version} to deploy")


def begin_key(version: str) -> str:
    """Key of the entry with which a version's rollout begins."""
    return f"{version}/begin"


def _aim(step: RolloutStatus) -> tuple[str, Stage, str | None]:
    """What a person wants with a step: the way there may be another after the rollout moved on."""
    return step.about, step.stage, step.champion


def _key(following: RolloutStatus, position: int) -> str:
    """Identity of a step: what it is about, what it does, and where it starts from."""
    return f"{following.about}/{following.step}/{position}"
