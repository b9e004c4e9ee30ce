"""What must hold of the slow half after a run: one ledger, one document, one job a decision, each step once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from shared.app.ledger_store import ACTOR
from shared.app.release.registry_tags import wanted_tags
from shared.app.release.rollouts import PAUSE
from shared.core.ledger import CLOSED, Entry
from shared.core.retrain.history import DECISION, GATE, LAUNCHED, ROLLOUT, jobs

if TYPE_CHECKING:
    from tests.simulation.loop import SlowHalf

WORST = 1.25  # errors of a challenger, in the champion's: nobody but a person lets such a one through


def check(half: SlowHalf) -> None:
    """All of it; an AssertionError says what does not hold."""
    loop = half.world.final.loop
    loop.rollouts.ledger.verify()
    entries = loop.rollouts.ledger.entries()
    _each_once(entries)
    _one_job_a_decision(half, entries)
    _judged_once_it_ended(half, entries)
    steps = [entry for entry in entries if entry.kind == ROLLOUT]
    _steps_follow(steps)
    _only_what_passed(half, entries, steps)
    _document_follows(half, steps)
    _registry_agrees(half, entries)


def _registry_agrees(half: SlowHalf, entries: Sequence[Entry]) -> None:
    registry, wanted = half.world.stores.registry, wanted_tags(entries)
    wrong = {version: (registry.tags.get(version), wanted.get(version))
             for version in registry.entered if registry.tags.get(version) != wanted.get(version)}  # fmt: skip
    assert not wrong, f"the registry says something else than the ledger: {wrong}"


def _each_once(entries: Sequence[Entry]) -> None:
    assert [entry.position for entry in entries] == list(range(len(entries))), "the ledger has gaps"
    keys = Counter((entry.kind, entry.key) for entry in entries if entry.kind != CLOSED)
    twice = [key for key, count in keys.items() if count > 1]
    assert not twice, f"entered twice: {twice[:3]}"


def _one_job_a_decision(half: SlowHalf, entries: Sequence[Entry]) -> None:
    known = jobs(entries)
    decided, submitted = {job.name for job in known}, set(half.jobs.specs)
    assert decided == {entry.data["job"] for entry in entries if entry.kind == DECISION and entry.data["launch"]}
    assert submitted <= decided, f"jobs that nobody decided: {submitted - decided}"
    launched = {entry.key for entry in entries if entry.kind == LAUNCHED}
    assert launched <= submitted, f"entered as started, but nobody was asked to: {launched - submitted}"
    for one, two in pairwise(known):
        ended = one.ended is not None and one.ended.position < two.decision.position
        assert ended, f"{two.name} was decided while {one.name} ran"


def _judged_once_it_ended(half: SlowHalf, entries: Sequence[Entry]) -> None:
    for job in jobs(entries):
        assert job.ended is not None, f"{job.name} never ends"
        status, true = job.ended.data["status"], half.jobs.states.get(job.name)
        late = "timed out" in job.ended.data["why"] or "lost" in job.ended.data["why"]
        assert late or status == true, f"{job.name} has {true}, the ledger says {status} ({job.ended.data['source']})"
        gates = [entry for entry in entries if entry.kind == GATE and entry.data["job"] == job.name]
        if status != "completed":
            assert not gates, f"{job.name} has {status} and was judged"
            continue
        assert gates, f"{job.name} completed and was never judged"
        about = job.decision.data["inputs"]["signals"]["champion"]
        wrong = [gate.data["champion"] for gate in gates if gate.data["version"] and gate.data["champion"] != about]
        assert not wrong, f"{job.name} was judged against {wrong}, and its evidence is about {about}"
        damage = [gate.data["text"] for gate in gates if gate.data["reasons"] == ["evidence"]]
        assert not damage or "damage" in half.world.on, f"{job.name} left its evidence, and yet: {damage[0]}"


def _steps_follow(steps: Sequence[Entry]) -> None:
    """A step starts from where the one before has ended."""
    for one, two in pairwise(steps):
        before, after = one.data, two.data
        right = {
            "shadow": before["stage"] == "none" and after["champion"] == before["champion"],
            "canary": before["stage"] in {"shadow", "canary"} and after["challenger"] == before["challenger"]
            and after["share"] > before["share"],
            "champion": (after["champion"], after["challenger"]) == (before["challenger"], before["champion"]),
            "refused": after["champion"] == before["champion"],
            "rolled_back": before["stage"] == "guard" and after["champion"] == before["challenger"],
            "guarded": before["stage"] == "guard" and after["champion"] == before["champion"],
            "installed": after["challenger"] == before["champion"],
        }  # fmt: skip
        assert right.get(after["step"]), f"{after['step']} of {after['about']} does not follow {before['step']}"


def _only_what_passed(half: SlowHalf, entries: Sequence[Entry], steps: Sequence[Entry]) -> None:
    passed = {entry.data["version"] for entry in entries if entry.kind == GATE and entry.data["kind"] == "promote"}
    for step in steps[1:]:
        if step.actor == ACTOR and step.data["step"] in {"shadow", "canary", "champion"}:
            about = step.data["about"]
            assert about in passed, f"{about} became {step.data['step']} without having passed the gate"
            assert half.quality.get(about, 0) < WORST, f"{about} is bad and became {step.data['step']}"
            told = [entry.data["action"] for entry in entries[: step.position] if _pause_of(entry, about)]
            assert told[-1:] != ["pause"], f"{about} is paused and became {step.data['step']}"
    begun = Counter(step.data["about"] for step in steps if step.key.endswith("/begin"))
    assert set(begun.values()) <= {1}, f"begun twice: {begun}"


def _pause_of(entry: Entry, version: str) -> bool:
    return entry.kind == PAUSE and entry.data["about"] == version


def _document_follows(half: SlowHalf, steps: Sequence[Entry]) -> None:
    """The control document never goes back, says what its step says, and in the end stands at the newest."""
    positions = [document.position for document in half.documents]
    assert positions == sorted(positions), f"the control document went back: {positions}"
    by_position = {step.position: step.data for step in steps}
    for document in half.documents:
        step = by_position[document.position]
        told = document.champion, document.challenger, document.share
        assert told == (step["champion"], step["challenger"], step["share"]), (
            f"{document} is not entry {document.position}"
        )
    assert half.documents[-1].position == steps[-1].position, "the control document does not stand at the newest step"
