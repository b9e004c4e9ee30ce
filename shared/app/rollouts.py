"""How a challenger climbs to champion and how a bad champion is taken back: every step stands in the ledger first.

The newest ledger entry of kind ROLLOUT says who is to serve; the control document follows it. A crash between the two
is mended by the next look, and a look that comes twice finds its step taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from shared.app.control import ControlDocument
from shared.app.ledger import ACTOR, Ledger
from shared.app.marks import Marks
from shared.app.refusals import CheckPackage, refusal, step_back
from shared.core import deployment, package, rollout
from shared.core.deployment import Deployment
from shared.core.ledger import Entry, find
from shared.core.profile import Merged
from shared.core.retrain_history import ROLLOUT
from shared.core.rollout import Days, Health, Step
from shared.core.scenario import Scenario
from shared.core.state import PAIRS, ROLES
from shared.errors import ContractBroken, StateConflict
from shared.ports import Blobs

log = logging.getLogger(__name__)
APPROVAL, PAUSE = "approval", "pause"
HOURS = 24
CLIMBING = ("shadow", "canary")
Stage = Literal["none", "shadow", "canary", "guard"]
MeasureLatency = Callable[[str], float]


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """Who is to serve, as an entry of kind ROLLOUT says it.

    Args:
        step: What was done: shadow, canary, champion, installed, rolled_back, refused or guarded.
        stage: Where that leaves the two models.
        champion: Version that answers users.
        challenger: Version beside it; in the stage guard the champion of before.
        share: Share of devices that the challenger answers.
        salt: Chooses these devices.
        since_day: First as-of day (since 1970) whose pairs count.
        rung_day: First as-of day on this rung.
        about: Version that the step is about.
        reasons: Why.
        evidence: What was measured.
    """

    step: str
    stage: Stage
    champion: str | None
    challenger: str | None = None
    share: float = 0.0
    salt: str = ""
    since_day: int = 0
    rung_day: int = 0
    about: str = ""
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The rollouts of one scenario.

    Args:
        scenario: Ladder and limits.
        blobs: Where packages stand.
        ledger: Where every step is written.
        control: What serving reads.
        latency_ms: Measures a version's time for one forecast, NaN when it cannot.
        mark: Tells the registry what became of a version.
        check: Loads a version as serving does, or raises ContractBroken.
    """

    scenario: Scenario
    blobs: Blobs
    ledger: Ledger
    control: ControlDocument
    latency_ms: MeasureLatency
    mark: Callable[[str, str], None]
    check: CheckPackage

    def stand(self, entries: Sequence[Entry] | None = None) -> tuple[Stand, int]:
        """Who is to serve, and the position of the entry that says so, -1 before the first."""
        newest = _newest(self.ledger.entries() if entries is None else entries)
        if newest is None:
            return Stand(step="", stage="none", champion=self.control.read().champion), -1
        return msgspec.convert(newest.data, Stand), newest.position

    def follow(self) -> Deployment:
        """Bring control document and registry to where the ledger stands; nothing happens when they are there.

        Raises:
            ContractBroken: The ledger lost entries, or the document is none and the ledger knows of no step.
        """
        found = self.control.change(self._followed, self._mended)
        Marks(self.ledger, self.mark).tell()
        return found

    def begin(self, version: str, day: int, actor: str = ACTOR) -> Stand:
        """Put a version that passed the gate beside the champion; without a champion it becomes champion.

        One whose package serving refuses is refused here too, and leaves all others where they stand.

        Raises:
            ContractBroken: There is no such package.
            StateConflict: Another challenger is still on its way.
        """
        self._package(version)
        damage = "" if self._begun(version) else self._refusal(version)

        def make(now: Stand, _: Sequence[Entry]) -> Stand | None:
            if now.stage in CLIMBING:
                raise StateConflict(f"{now.challenger} is still on its way: {version} has to wait")
            if now.stage == "guard":
                raise StateConflict(f"{now.challenger} still guards {now.champion}: {version} has to wait")
            if damage:
                return msgspec.structs.replace(now, step="refused", about=version, reasons=(damage,), evidence={})
            if now.champion is None:
                return Stand(step="installed", stage="none", champion=version, about=version, since_day=day,
                             reasons=("the first champion",))  # fmt: skip
            return Stand(step="shadow", stage="shadow", champion=now.champion, challenger=version, salt=version,
                         since_day=day, rung_day=day, about=version, reasons=("passed the gate",))  # fmt: skip

        return self._take(begin_key(version), make, actor)

    def install(self, version: str, day: int, actor: str, key: str) -> Stand:
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

        def make(now: Stand, _: Sequence[Entry]) -> Stand | None:
            return None if now.champion == version else self._crowned(now, version, day, "installed", (f"by {actor}",))

        return self._take(f"install/{version}/{key}", make, actor)

    def tick(self, merged: Merged) -> Step | None:
        """Look at the labels that have matured and take the step that follows; None when nothing is on its way."""
        stand, position = self.stand()
        self.follow()
        one, other = (refusal(self.ledger, self.check, each, position) for each in (stand.champion, stand.challenger))
        if stand.stage == "none":
            return None
        step = step_back(stand.stage, stand.share, one, other, self.scenario.rollout)
        step = step or self._decided(stand, self.days(merged, stand), merged)
        following = self._following(stand, step, merged)
        if following is None:
            return step

        def make(now: Stand, entries: Sequence[Entry]) -> Stand | None:
            return following if now == stand and not self._held(stand, step, entries) else None

        taken = self._take(_key(following, position), make, ACTOR)
        return self._unless_held(stand, step) if taken == stand else step

    def request(self, action: str, day: int, actor: str, key: str) -> Stand:
        """What a person asks for: approve, promote, roll_back, pause or resume.

        Raises:
            ContractBroken: There is no such action, nothing it could be about, or serving refuses the new champion.
            StateConflict: The rollout took a step meanwhile after which the action would mean something else.
        """
        if action in {"pause", "resume", "approve"}:
            return self._note(action, actor, key)
        if find(self.ledger.entries(), ROLLOUT, f"{action}/{key}") is not None:
            self.follow()
            return self.stand()[0]
        stand, _ = self.stand()
        step = self._asked(action, actor)
        wanted = self._after(stand, step, day)
        if wanted is None:
            raise ContractBroken(f"{action}: there is no challenger and no guard to do it with")
        if wanted.champion is not None and wanted.champion != stand.champion:
            self._usable(wanted.champion)

        def make(now: Stand, _: Sequence[Entry]) -> Stand | None:
            again = self._after(now, step, day)
            if again is None or _aim(again) != _aim(wanted):
                raise StateConflict(f"{action}: not done, for {now.about} became {now.step} meanwhile")
            return again

        return self._take(f"{action}/{key}", make, actor)

    def days(self, merged: Merged, stand: Stand) -> Days:
        """Paired losses of the two models since the stage began."""
        sums: dict[int, tuple[int, float, float]] = {}
        rows, champion, challenger = (PAIRS.index(n) for n in ("rows", "absolute_champion", "absolute_challenger"))
        for (day, first, second), row in merged.pairs.items():
            if (first, second) == (stand.champion, stand.challenger) and day >= stand.since_day:
                sums[day] = int(row[rows]), float(row[champion]), float(row[challenger])
        return Days.of(sums)

    def _decided(self, stand: Stand, days: Days, merged: Merged) -> Step:
        if stand.stage == "guard":
            return rollout.guard(days, self.scenario.rollout, self._matured_days(stand, merged))
        step = rollout.decide(stand.share, days, self._health(stand, merged), self.scenario.rollout, stand.rung_day)
        return self._unless_held(stand, step)

    def _matured_days(self, stand: Stand, merged: Merged) -> int:
        """Whole days since the stage began whose labels have matured; 0 when it began before the first reading."""
        known = merged.newest_hour + 1 - self.scenario.horizon - self.scenario.lateness
        return max(known // HOURS - stand.since_day, 0) if stand.since_day > 0 else 0

    def _unless_held(self, stand: Stand, step: Step) -> Step:
        held = self._held(stand, step, self.ledger.entries())
        return msgspec.structs.replace(step, kind="hold", share=stand.share, reasons=(held,)) if held else step

    def _held(self, stand: Stand, step: Step, entries: Sequence[Entry]) -> str:
        """Why a challenger may not climb now although its labels say so, "" when it may."""
        if stand.stage not in CLIMBING or step.kind in {"hold", "roll_back"}:
            return ""
        about = [entry for entry in entries if entry.data.get("about") == stand.challenger]
        pauses = [entry for entry in about if entry.kind == PAUSE]
        if pauses and pauses[-1].data["action"] == "pause":
            return f"paused by {pauses[-1].actor}"
        needs = self.scenario.rollout.approval and stand.stage == "shadow"
        return "waits for approval" if needs and not any(entry.kind == APPROVAL for entry in about) else ""

    def _health(self, stand: Stand, merged: Merged) -> Health:
        held = [(day, row) for (day, role, model), row in merged.errors.items()
                if role == ROLES[0] and model == stand.champion and day >= stand.since_day]  # fmt: skip
        rows = self.days(merged, stand)
        paired = dict(zip(rows.day.tolist(), rows.rows.tolist(), strict=True))
        answered = [(int(row[0]), paired.get(day, 0)) for day, row in held if day > stand.since_day]
        asked = sum(each for each, _ in answered)
        enough = asked >= self.scenario.rollout.minimum_labels
        unanswered = 1 - sum(each for _, each in answered) / asked if enough else 0.0
        shift = rollout.forecast_shift(self.scenario, merged, stand.champion or "", stand.challenger or "",
                                       stand.since_day)  # fmt: skip
        return Health(unanswered=unanswered, latency_ms=self.latency_ms(stand.challenger or ""), forecast_shift=shift)

    def _following(self, stand: Stand, step: Step, merged: Merged) -> Stand | None:
        return None if step.kind == "hold" else self._after(stand, step, merged.newest_hour // HOURS)

    def _after(self, stand: Stand, step: Step, day: int) -> Stand | None:
        """Where a step leads to, None when it makes no sense where things stand."""
        evidence = msgspec.to_builtins(step.improvement)
        told: dict[str, Any] = {"reasons": step.reasons, "evidence": _finite(evidence)}
        if stand.stage == "guard":
            return _guarded(stand, step, told)
        if stand.stage == "none" or stand.challenger is None:
            return None
        about = stand.challenger
        if step.kind == "roll_back":
            return Stand(step="refused", stage="none", champion=stand.champion, about=about, **told)
        if step.kind == "promote":
            return msgspec.structs.replace(self._crowned(stand, about, day, "champion", step.reasons), **told)
        return msgspec.structs.replace(
            stand, step="canary", stage="canary", share=step.share, rung_day=day, about=about, **told
        )

    def _crowned(self, now: Stand, version: str, day: int, step: str, reasons: tuple[str, ...]) -> Stand:
        """A new champion, with the one before beside it."""
        stage: Stage = "guard" if now.champion else "none"
        return Stand(step=step, stage=stage, champion=version, challenger=now.champion, since_day=day, about=version,
                     reasons=reasons)  # fmt: skip

    def _asked(self, action: str, actor: str) -> Step:
        kinds: Mapping[str, rollout.Kind] = {"promote": "promote", "roll_back": "roll_back"}
        if action not in kinds:
            raise ContractBroken(f"{action[:40]!r} is not one of approve, pause, promote, resume, roll_back")
        nothing = rollout.improvement(Days.of({}), self.scenario.rollout)
        share = 1.0 if action == "promote" else 0.0
        return Step(kind=kinds[action], share=share, reasons=(f"asked for by {actor}",), improvement=nothing)

    def _take(self, key: str, make: Callable[[Stand, Sequence[Entry]], Stand | None], actor: str) -> Stand:
        """Write a step that follows from where things stand, and follow it."""

        def entry(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]] | None:
            if find(entries, ROLLOUT, key) is not None:
                return None
            made = make(self.stand(entries)[0], entries)
            return None if made is None else (key, msgspec.to_builtins(made))

        self.ledger.decide(ROLLOUT, entry, actor)
        self.follow()
        return self.stand()[0]

    def _note(self, action: str, actor: str, key: str) -> Stand:
        """Enter what a person says of the challenger that is on its way."""

        def entry(entries: Sequence[Entry]) -> tuple[str, Mapping[str, Any]]:
            stand, _ = self.stand(entries)
            if stand.stage not in CLIMBING:
                raise ContractBroken(f"{action}: no challenger is on its way")
            return f"{action}/{stand.challenger}/{key}", {"action": action, "about": stand.challenger}

        self.ledger.decide(APPROVAL if action == "approve" else PAUSE, entry, actor)
        return self.stand()[0]

    def _followed(self, now: Deployment) -> Deployment:
        """The control document as the ledger wants it."""
        entries = self.ledger.entries()  # read after the document: what that follows is among them
        newest, step = len(entries) - 1, _newest(entries)
        if now.position > newest:
            raise ContractBroken(
                f"the ledger ends with entry {newest}, but the control document follows entry {now.position}: "
                "entries are lost"
            )
        if step is None or now.position > step.position:
            return now
        stand = msgspec.convert(step.data, Stand)
        return msgspec.structs.replace(
            now,
            champion=stand.champion,
            challenger=stand.challenger,
            share=stand.share,
            salt=stand.salt,
            position=step.position,
        )

    def _mended(self, error: ContractBroken) -> Deployment:
        """What takes the place of a control document that is none; the next check finds faulty devices again."""
        if _newest(self.ledger.entries()) is None:
            raise error
        log.error("%s; it is written anew from the ledger, without the quarantine", error)
        return Deployment()

    def _begun(self, version: str) -> bool:
        return find(self.ledger.entries(), ROLLOUT, begin_key(version)) is not None

    def _refusal(self, version: str) -> str:
        return refusal(self.ledger, self.check, version, self.stand()[1])

    def _usable(self, version: str) -> None:
        if why := self._refusal(version):
            raise ContractBroken(why)

    def _package(self, version: str) -> None:
        if not package.VERSION.fullmatch(version):
            raise ContractBroken(f"version {version[:80]!r} is not of the form {package.VERSION.pattern}")
        if self.blobs.info(deployment.CONTAINER, f"{version}/manifest.json") is None:
            raise ContractBroken(f"there is no package {version} to deploy")


def _newest(entries: Sequence[Entry]) -> Entry | None:
    """The entry that says who is to serve."""
    return next((entry for entry in reversed(entries) if entry.kind == ROLLOUT), None)


def begin_key(version: str) -> str:
    """Key of the entry with which a version's rollout begins."""
    return f"{version}/begin"


def _guarded(stand: Stand, step: Step, told: dict[str, Any]) -> Stand | None:
    """The end of a guard: the champion stays alone, or the one before comes back."""
    if step.kind == "roll_back":
        return Stand(step="rolled_back", stage="none", champion=stand.challenger, about=stand.champion or "", **told)
    return Stand(step="guarded", stage="none", champion=stand.champion, about=stand.champion or "", **told)


def _aim(step: Stand) -> tuple[str, Stage, str | None]:
    """What a person wants with a step: the way there may be another after the rollout moved on."""
    return step.about, step.stage, step.champion


def _key(following: Stand, position: int) -> str:
    """Identity of a step: what it is about, what it does, and where it starts from."""
    return f"{following.about}/{following.step}/{position}"


def _finite(evidence: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: a bound that is not known yet is null."""
    return {name: None if isinstance(v, float) and v - v != 0 else v for name, v in evidence.items()}
