"""From a package that passed the gate to champion or back, on stores in memory, with pairs made by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest

from shared.app.backoff import Backoff
from shared.app.ledger_store import Ledger
from shared.app.release.control import ControlDocument
from shared.app.release.refusals import REFUSED
from shared.app.release.registry_tags import MARKED, RegistryTags
from shared.app.release.rollouts import Rollouts
from shared.core.forecast.losses import ERRORS, PAIRS
from shared.core.forecast.task import HourlyForecast
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.profile.bins import CELLS
from shared.core.profile.device_table import DeviceTable
from shared.core.profile.merged import MergedProfile
from shared.core.retrain.history import ROLLOUT
from shared.core.rollout.labels import paired_days
from shared.core.scenario import RolloutRules, with_overrides
from shared.errors import ContractBroken, StateConflict, TransientFailure
from tests import kit
from tests.kit import TASK, HandClock, MemoryBlobs, MemoryRegistry

DAY = 20_000
SCENARIO = with_overrides(kit.SCENARIO, rollout=RolloutRules(minimum_labels=100, guard_days=12))


@dataclass
class World:
    """A rollout's stores, and what its labels say."""

    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    clock: HandClock = field(default_factory=HandClock)
    scenario: object = SCENARIO
    pairs: dict[tuple[int, str, str], np.ndarray] = field(default_factory=dict)
    errors: dict[tuple[int, str, str], np.ndarray] = field(default_factory=dict)
    forecasts: dict[tuple[int, str, str], np.ndarray] = field(default_factory=dict)
    registry: MemoryRegistry = field(default_factory=lambda: MemoryRegistry("v1", "v2", "v3"))
    latency_ms: float = 1.0
    damaged: set[str] = field(default_factory=set)
    day: int = DAY

    def __post_init__(self) -> None:
        for version in ("v1", "v2", "v3"):
            kit.publish(self.blobs, version)

    def rollouts(self) -> Rollouts:
        """As another worker would make them."""
        return Rollouts(
            self.scenario,  # type: ignore[arg-type]
            self.blobs,
            Ledger("small", self.blobs, self.clock),
            ControlDocument(self.blobs),
            lambda _: self.latency_ms,
            RegistryTags(Ledger("small", self.blobs, self.clock), self.registry, Backoff(self.clock)),
            self.check,
        )

    def check(self, version: str) -> None:
        if version in self.damaged:
            raise ContractBroken("model.onnx: sha256 differs")

    def live(self, days: int, ratio: float, rows: int = 100) -> None:
        """Days go by in which the challenger errs `ratio` times as much as the champion."""
        now = self.document
        champion, challenger = str(now.champion), str(now.challenger)
        for _ in range(days):
            wave = 1 + 0.05 * (-1) ** (self.day // 2)
            row = np.zeros(len(PAIRS), np.int64)
            row[:3] = rows, 10_000, int(10_000 * ratio * wave)
            self.pairs[self.day, champion, challenger] = row
            both = np.zeros(len(ERRORS), np.int64)
            both[0] = rows
            self.errors[self.day, "champion", champion] = both
            self.day += 1

    @property
    def merged(self) -> MergedProfile:
        nothing, sums = np.zeros((0, CELLS)), (self.forecasts, self.errors, self.pairs)
        return MergedProfile(TASK, {}, self.day * 24, (), nothing, {}, *sums, DeviceTable.empty(4))

    @property
    def document(self) -> Deployment:
        return deployment.decode(self.blobs.read("models", "deployment.json") or b"{}")

    @property
    def refused(self) -> list[str]:
        """Versions whose refusal stands in the ledger."""
        entries = Ledger("small", self.blobs, self.clock).entries()
        return [entry.data["about"] for entry in entries if entry.kind == REFUSED and "sha256" in entry.data["text"]]

    @property
    def steps(self) -> list[str]:
        entries = Ledger("small", self.blobs, self.clock).entries()
        return [entry.data["step"] for entry in entries if entry.kind == ROLLOUT]

    def tick_for(self, days: int, ratio: float) -> list[str]:
        """A look after each day."""
        kinds: list[str] = []
        for _ in range(days):
            self.live(1, ratio)
            step = self.rollouts().tick(self.merged)
            kinds.append(step.kind if step else "")
        return kinds


@pytest.fixture
def world() -> World:
    made = World()
    made.rollouts().begin("v1", DAY)
    return made


def test_the_first_version_becomes_champion_at_once(world: World) -> None:
    assert (world.document.champion, world.document.challenger) == ("v1", None)
    assert world.registry.told == [("v1", "installed")]
    assert world.rollouts().tick(world.merged) is None


def test_a_better_challenger_climbs_from_shadow_to_champion(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    assert world.document.challenger == "v2"
    assert world.document.share == 0
    shares = set()
    while world.document.champion == "v1":
        world.tick_for(1, 0.7)
        shares.add(world.document.share)
        assert world.day < DAY + 60
    assert shares == {0.0, 0.1, 0.5}
    assert world.document.champion == "v2"
    assert world.document.challenger == "v1"  # stays beside it as its guard
    world.tick_for(12, 1.3)
    assert (world.document.champion, str(world.document.challenger)) == ("v2", "None")
    assert world.steps == ["installed", "shadow", "canary", "canary", "champion", "guarded"]
    assert [tag for version, tag in world.registry.told if version == "v2"] == [
        "shadow",
        "canary",
        "champion",
        "guarded",
    ]


def test_a_worse_challenger_is_refused_and_the_champion_stays(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.tick_for(30, 1.3)
    assert world.steps == ["installed", "shadow", "refused"]
    assert (world.document.champion, world.document.challenger, world.document.share) == ("v1", None, 0.0)


def test_a_challenger_that_an_installation_pushes_out_is_marked(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.rollouts().install("v3", DAY, "ann", "request-1")
    assert (world.document.champion, world.document.challenger) == ("v3", "v1")
    assert dict(world.registry.told) == {"v3": "installed", "v2": "superseded", "v1": "guard"}
    world.rollouts().follow()
    assert world.registry.told.count(("v2", "superseded")) == 1


def test_a_sabotaged_champion_is_taken_back(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "request-1")
    assert (world.document.champion, world.document.challenger) == ("v3", "v1")
    kinds = world.tick_for(3, 0.4)  # the model of before errs far less
    assert "roll_back" in kinds
    assert (world.document.champion, world.document.challenger) == ("v1", None)
    assert world.steps == ["installed", "installed", "rolled_back"]
    assert dict(world.registry.told) == {"v3": "rolled_back", "v1": "champion"}


def test_pairs_of_an_earlier_rollout_do_not_count(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.live(40, 0.5)
    world.rollouts().request("roll_back", world.day, "ann", "r1")
    world.rollouts().install("v2", world.day, "ann", "again")
    status, _ = world.rollouts().current()
    assert paired_days(world.merged, status).rows.sum() == 0


def test_a_second_challenger_has_to_wait(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    with pytest.raises(StateConflict, match="v2 is still on its way: v3 has to wait"):
        world.rollouts().begin("v3", DAY)
    assert world.rollouts().begin("v2", DAY).challenger == "v2"  # the same once more is no second
    assert world.steps == ["installed", "shadow"]


def test_without_a_package_nothing_begins(world: World) -> None:
    with pytest.raises(ContractBroken, match="no package v9"):
        world.rollouts().begin("v9", DAY)
    with pytest.raises(ContractBroken, match="no package v9"):
        world.rollouts().install("v9", DAY, "ann", "r")


def test_a_person_pauses_and_resumes(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.rollouts().request("pause", DAY, "ann", "1")
    assert set(world.tick_for(20, 0.7)) == {"hold"}
    step = world.rollouts().tick(world.merged)
    assert step is not None
    assert step.reasons == ("paused by ann",)
    world.rollouts().request("resume", DAY, "bob", "2")
    assert world.tick_for(1, 0.7) == ["advance"]


def test_a_paused_challenger_still_falls(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.rollouts().request("pause", DAY, "ann", "1")
    assert "roll_back" in world.tick_for(20, 1.8)


def test_with_approval_the_way_to_canary_waits_for_a_person() -> None:
    rules = dataclasses.replace(SCENARIO.rollout, approval=True)
    world = World(scenario=with_overrides(SCENARIO, rollout=rules))
    world.rollouts().begin("v1", DAY)
    world.rollouts().begin("v2", DAY)
    assert set(world.tick_for(20, 0.7)) == {"hold"}
    world.rollouts().request("approve", DAY, "ann", "1")
    assert world.tick_for(1, 0.7) == ["advance"]


@pytest.mark.parametrize(("action", "champion"), [("promote", "v2"), ("roll_back", "v1")])
def test_a_person_decides_and_stands_in_the_ledger(world: World, action: str, champion: str) -> None:
    world.rollouts().begin("v2", DAY)
    for _ in range(3):  # the same request delivered again
        world.rollouts().request(action, DAY, "ann", "r1")
    assert world.document.champion == champion
    entries = [e for e in world.rollouts().ledger.entries() if e.kind == ROLLOUT]
    assert len(entries) == 3
    assert entries[-1].actor == "ann"
    assert entries[-1].data["reasons"] == ["asked for by ann"]


@pytest.mark.parametrize("action", ["promote", "roll_back", "approve", "pause", "dance"])
def test_an_action_without_an_object_is_refused(world: World, action: str) -> None:
    with pytest.raises(ContractBroken, match=action):
        world.rollouts().request(action, DAY, "ann", "r1")


def test_a_challenger_that_leaves_forecasts_unanswered_falls(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.live(2, 0.7)
    row = world.errors[DAY + 1, "champion", "v1"].copy()
    row[0] = 110  # ten of them without the challenger
    world.errors[DAY + 1, "champion", "v1"] = row
    step = world.rollouts().tick(world.merged)
    assert step is not None
    assert step.kind == "roll_back"
    assert "unanswered" in step.reasons[0]


def test_a_slow_challenger_falls(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.latency_ms = 51.0
    world.live(1, 0.7)
    step = world.rollouts().tick(world.merged)
    assert step is not None
    assert "51 ms" in step.reasons[0]


@pytest.mark.parametrize(
    ("day", "rows", "kind"),
    [
        (DAY + 1, 100, "roll_back"),
        (DAY + 1, 99, "hold"),  # too few to tell
        (DAY, 100, "hold"),  # the champion's hours of the first day are others than the challenger's
    ],
)
def test_a_challenger_with_other_forecasts_falls_before_its_errors_prove_it(
    world: World, day: int, rows: int, kind: str
) -> None:
    world.rollouts().begin("v2", DAY)
    low, high = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
    low[10:30], high[300] = 5, rows
    world.forecasts = {(day, "champion", "v1"): low, (day, "challenger", "v2"): high}
    world.live(2, 1.0)
    step = world.rollouts().tick(world.merged)
    assert step is not None
    assert (step.kind, "standard deviations" in step.reasons[0]) == (kind, kind == "roll_back")


class Failing(MemoryBlobs):
    """A store whose nth write fails, before or after it is done."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self.left = math.inf
        self.at, self.after = at, after

    def arm(self) -> None:
        self.left = self.at

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        self.left -= 1
        if self.left == 0 and not self.after:
            raise TransientFailure("the store is away")
        done = super().replace(container, name, data, etag)
        if self.left == 0:
            raise TransientFailure("the store is away")
        return done


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_after_any_write_leaves_one_step(at: int, after: bool) -> None:
    blobs = Failing(at, after=after)
    world = World(blobs=blobs)
    world.rollouts().begin("v1", DAY)
    world.rollouts().begin("v2", DAY)
    world.live(14, 0.7)
    blobs.arm()
    with pytest.raises(TransientFailure):
        world.rollouts().tick(world.merged)
    world.rollouts().follow()
    if world.document.share == 0:
        world.rollouts().tick(world.merged)
    assert world.document.share == 0.1
    assert world.steps == ["installed", "shadow", "canary"]
    marked = [e for e in world.rollouts().ledger.entries() if e.kind == MARKED]
    told = [(entry.data["about"], entry.data["as"]) for entry in marked]
    assert sorted(told) == [("v1", "champion"), ("v1", "installed"), ("v2", "canary"), ("v2", "shadow")]


def test_many_workers_at_once_take_one_step(world: World) -> None:
    def all_at_once(work: Callable[[int], object]) -> None:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(work, range(6)))

    all_at_once(lambda _: world.rollouts().begin("v2", DAY))
    assert world.steps == ["installed", "shadow"]
    world.live(14, 0.7)
    merged = world.merged
    all_at_once(lambda _: world.rollouts().tick(merged))
    assert world.steps == ["installed", "shadow", "canary"]
    assert world.document.share == 0.1


class Raced(MemoryBlobs):
    """A store in which somebody else acts right before the next reading or writing of a container."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, Callable[[], object]] = {}

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        self._let(f"read {container}")
        return super().read_changed(container, name, etag)

    def replace(self, container: str, name: str, data: bytes, etag: str | None) -> str:
        self._let(f"write {container}")
        return super().replace(container, name, data, etag)

    def _let(self, call: str) -> None:
        if act := self.before.pop(call, None):
            act()


@dataclass
class RacedWorld(World):
    """A champion, and a store in which somebody else may act between two calls."""

    blobs: Raced = field(default_factory=Raced)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rollouts().begin("v1", DAY)


@pytest.fixture
def raced() -> RacedWorld:
    return RacedWorld()


def test_an_older_step_never_comes_back(raced: RacedWorld) -> None:
    ControlDocument(raced.blobs).change(lambda now: msgspec.structs.replace(now, champion="v3"))
    raced.blobs.before["write models"] = lambda: raced.rollouts().begin("v2", DAY)
    raced.rollouts().follow()  # slept between ledger and document
    assert (raced.document.champion, raced.document.challenger) == ("v1", "v2")


def test_a_step_of_somebody_else_while_the_document_is_read_is_no_lost_entry(raced: RacedWorld) -> None:
    raced.blobs.before["read models"] = lambda: raced.rollouts().begin("v2", DAY)
    assert raced.rollouts().follow().challenger == "v2"


@pytest.mark.parametrize(("meanwhile", "step"), [("tick", "refused"), ("promote", "rolled_back")])
def test_a_challenger_that_climbs_while_a_person_takes_it_back_is_taken_back(
    raced: RacedWorld, meanwhile: str, step: str
) -> None:
    raced.rollouts().begin("v2", DAY)
    raced.live(14, 0.7)
    acts: dict[str, Callable[[], object]] = {
        "tick": lambda: raced.rollouts().tick(raced.merged),
        "promote": lambda: raced.rollouts().request("promote", DAY, "bob", "1"),
    }
    raced.blobs.before["write ledger"] = acts[meanwhile]
    assert raced.rollouts().request("roll_back", DAY, "ann", "2").step == step
    assert (len(raced.steps), raced.document.champion, raced.document.challenger) == (4, "v1", None)


@pytest.mark.parametrize(
    ("action", "first", "last"),
    [("promote", ("promote",), "champion"), ("roll_back", ("roll_back",), "refused"),
     ("promote", ("promote", "promote"), "guarded")],
)  # fmt: skip
def test_what_would_mean_something_else_by_now_is_not_done_and_told(
    raced: RacedWorld, action: str, first: tuple[str, ...], last: str
) -> None:
    raced.rollouts().begin("v2", DAY)

    def meanwhile() -> None:
        for number, each in enumerate(first):
            raced.rollouts().request(each, DAY, "bob", f"{number}")

    raced.blobs.before["write ledger"] = meanwhile
    with pytest.raises(StateConflict, match=f"{action}: not done, for v2 became {last} meanwhile"):
        raced.rollouts().request(action, DAY, "ann", "mine")
    assert raced.steps[-1] == last
    assert len(raced.steps) == 2 + len(first)


def test_the_same_request_at_two_workers_at_once_is_one(raced: RacedWorld) -> None:
    raced.rollouts().begin("v2", DAY)
    raced.blobs.before["write ledger"] = lambda: raced.rollouts().request("promote", DAY, "ann", "1")
    assert raced.rollouts().request("promote", DAY, "ann", "1").champion == "v2"
    assert raced.steps == ["installed", "shadow", "champion"]


def test_a_pause_that_comes_while_the_timer_looks_holds(raced: RacedWorld) -> None:
    raced.rollouts().begin("v2", DAY)
    raced.live(14, 0.7)
    raced.blobs.before["write ledger"] = lambda: raced.rollouts().request("pause", DAY, "ann", "1")
    step = raced.rollouts().tick(raced.merged)
    assert step is not None
    assert (step.kind, step.share, step.reasons) == ("hold", 0.0, ("paused by ann",))
    assert raced.steps == ["installed", "shadow"]


def test_a_pause_of_a_challenger_that_just_went_is_refused(raced: RacedWorld) -> None:
    raced.rollouts().begin("v2", DAY)
    raced.blobs.before["write ledger"] = lambda: raced.rollouts().request("promote", DAY, "bob", "1")
    with pytest.raises(ContractBroken, match="pause: no challenger is on its way"):
        raced.rollouts().request("pause", DAY, "ann", "2")


def test_a_damaged_version_does_not_begin_and_its_refusal_is_told_once(world: World) -> None:
    world.damaged = {"v2"}
    for _ in range(3):  # the timer finds the promotion again
        world.rollouts().begin("v2", DAY)
    assert (world.document.champion, world.document.challenger) == ("v1", None)
    assert (world.steps, world.refused) == (["installed", "refused"], ["v2"])
    assert dict(world.registry.told) == {"v2": "refused", "v1": "champion"}
    world.rollouts().begin("v3", DAY)
    assert world.document.challenger == "v3"


def test_a_damaged_version_waits_like_any_other_while_a_challenger_climbs(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.damaged = {"v3"}
    with pytest.raises(StateConflict, match="v3 has to wait"):
        world.rollouts().begin("v3", DAY)
    assert world.steps == ["installed", "shadow"]


def test_nobody_installs_a_damaged_version(world: World) -> None:
    world.damaged = {"v3"}
    for _ in range(2):
        with pytest.raises(ContractBroken, match=r"package v3 is refused: model\.onnx: sha256 differs"):
            world.rollouts().install("v3", DAY, "ann", "r")
    assert (world.document.champion, world.steps, world.refused) == ("v1", ["installed"], ["v3"])


def test_an_installation_that_comes_again_is_taken_although_its_package_is_damaged_by_now(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "r")
    world.damaged = {"v3"}
    assert world.rollouts().install("v3", DAY, "ann", "r").champion == "v3"


@pytest.mark.parametrize("key", ["begin", "canary/2"])
def test_a_persons_key_is_never_that_of_a_step(world: World, key: str) -> None:
    world.rollouts().begin("v2", DAY)
    world.live(14, 0.7)
    world.rollouts().tick(world.merged)
    assert world.steps[-1] == "canary"
    assert world.rollouts().install("v2", DAY, "ann", key).champion == "v2"


@pytest.mark.parametrize(("climbs", "action"), [(True, "promote"), (False, "roll_back")])
def test_no_person_gives_the_place_to_a_damaged_version(world: World, climbs: bool, action: str) -> None:
    if climbs:
        world.rollouts().begin("v2", DAY)
    else:
        world.rollouts().install("v2", DAY, "ann", "r")
    before = world.document
    world.damaged = {"v2" if climbs else "v1"}
    with pytest.raises(ContractBroken, match=r"is refused: model\.onnx: sha256 differs"):
        world.rollouts().request(action, DAY, "ann", "r")
    assert world.document == before
    assert world.refused == [*world.damaged]


def test_a_damaged_challenger_can_be_taken_back_by_a_person(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.damaged = {"v2"}
    assert world.rollouts().request("roll_back", DAY, "ann", "r").challenger is None


@pytest.mark.parametrize("days", [0, 14])
def test_a_challenger_whose_package_gets_damaged_falls(world: World, days: int) -> None:
    world.rollouts().begin("v2", DAY)
    world.live(days, 0.7)
    if days:
        world.rollouts().tick(world.merged)
    world.damaged = {"v2"}
    for _ in range(2):
        world.rollouts().tick(world.merged)
    assert (world.document.champion, world.document.challenger, world.document.share) == ("v1", None, 0.0)
    assert (world.steps[-1], world.refused) == ("refused", ["v2"])
    newest = [e for e in world.rollouts().ledger.entries() if e.kind == ROLLOUT][-1]
    assert newest.data["reasons"] == ["package v2 is refused: model.onnx: sha256 differs"]


def test_a_new_champion_whose_package_gets_damaged_makes_room_for_the_one_before(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "r")
    world.damaged = {"v3"}
    for _ in range(2):
        world.rollouts().tick(world.merged)
    assert (world.document.champion, world.document.challenger) == ("v1", None)
    assert (world.steps, world.refused) == (["installed", "installed", "rolled_back"], ["v3"])
    assert dict(world.registry.told) == {"v3": "rolled_back", "v1": "champion"}


def test_a_guard_that_could_not_come_back_ends(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "r")
    world.damaged = {"v1"}
    world.live(3, 0.4)  # it would have come back
    world.rollouts().tick(world.merged)
    assert (world.document.champion, world.document.challenger) == ("v3", None)
    assert (world.steps[-1], world.refused) == ("guarded", ["v1"])


def test_where_nothing_else_could_serve_everything_stays(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "r")
    world.damaged = {"v1", "v3"}
    for _ in range(3):
        world.rollouts().tick(world.merged)
    assert (world.document.champion, world.document.challenger) == ("v3", "v1")
    assert (world.steps, sorted(world.refused)) == (["installed", "installed"], ["v1", "v3"])


def test_a_lonely_champion_that_gets_damaged_is_told_once(world: World) -> None:
    world.damaged = {"v1"}
    for _ in range(3):
        assert world.rollouts().tick(world.merged) is None
    assert (world.document.champion, world.refused) == ("v1", ["v1"])


def test_a_damaged_champion_does_not_keep_a_good_challenger_down(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.damaged = {"v1"}
    assert world.tick_for(14, 0.7).count("promote") == 2
    assert world.steps[1:] == ["shadow", "canary", "canary", "champion", "guarded"]
    assert world.refused == ["v1"] * 4  # once where each of these steps began


def test_the_pairs_that_count_are_those_of_the_scenarios_loss(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    row = np.arange(len(PAIRS), dtype=np.int64) + 10
    world.pairs[DAY, "v1", "v2"] = row
    status, sums = world.rollouts().current()[0], dict(zip(PAIRS, row.tolist(), strict=True))
    for loss, power in (("absolute", 1.0), ("squared", 0.5)):
        task = HourlyForecast(with_overrides(SCENARIO, loss=loss))
        found = paired_days(dataclasses.replace(world.merged, task=task), status)
        assert (found.rows.tolist(), found.power) == ([sums["rows"]], power)
        assert found.champion.tolist() == [sums[f"{loss}_champion"]]
        assert found.challenger.tolist() == [sums[f"{loss}_challenger"]]


def test_a_registry_that_is_away_stops_no_rollback(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "request-1")

    world.registry.failing = TransientFailure("the registry does not answer")
    for _ in range(3):
        world.live(1, 0.4)
        world.rollouts().tick(world.merged)
    assert world.document.champion == "v1"
    world.registry.failing = None
    told = len(world.registry.told)
    world.rollouts().follow()
    assert sorted(world.registry.told[told:]) == [("v1", "champion"), ("v3", "rolled_back")]
    world.rollouts().follow()
    assert len(world.registry.told) == told + 2


def test_each_look_of_the_timer_reads_the_registrys_marks_and_sets_them_right(world: World) -> None:
    world.registry.marked["v1"] = "shadow"  # a worker's that was slow, or somebody's by hand
    world.rollouts().follow()
    assert world.registry.marked["v1"] == "shadow", "the ledger alone cannot tell"
    world.rollouts().tick(world.merged)
    assert world.registry.marked["v1"] == "installed"


def test_a_ledger_that_lost_its_end_is_not_followed(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    newest = max(world.blobs.names("ledger"))
    lines = (world.blobs.read("ledger", newest) or b"").splitlines(keepends=True)
    step = max(at for at, line in enumerate(lines) if b'"kind":"rollout"' in line)
    world.blobs.write("ledger", newest, b"".join(lines[:step]))
    with pytest.raises(ContractBroken, match="entries are lost"):
        world.rollouts().follow()


def test_a_document_edited_by_hand_is_brought_back(world: World) -> None:
    ControlDocument(world.blobs).change(lambda now: msgspec.structs.replace(now, champion="v3", quarantine=["d"]))
    world.rollouts().follow()
    assert (world.document.champion, world.document.quarantine) == ("v1", ["d"])


def test_a_challenger_that_answers_nothing_falls(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.live(3, 0.7)
    world.pairs.clear()
    step = world.rollouts().tick(world.merged)
    assert step is not None
    assert (step.kind, "100.0% unanswered" in step.reasons[0]) == ("roll_back", True)


def test_a_guard_is_not_replaced_by_a_challenger(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "request-1")
    with pytest.raises(StateConflict, match="v1 still guards v3: v2 has to wait"):
        world.rollouts().begin("v2", DAY)


def test_a_guard_that_gives_no_pairs_ends_by_the_calendar(world: World) -> None:
    world.rollouts().install("v3", DAY, "ann", "request-1")
    known = (DAY + 12) * 24 - 1 + SCENARIO.horizon + SCENARIO.lateness  # the label of the twelfth day's last hour
    reasons: list[str] = []
    for hour in (known - 1, known):
        assert world.document.challenger == "v1"
        step = world.rollouts().tick(dataclasses.replace(world.merged, newest_hour=hour))
        reasons += step.reasons if step else ()
    assert reasons == [
        "11 of 12 days beside the model before, 0 pairs",
        "12 days beside the model before, which is not better on 0 pairs",
    ]
    assert world.document.challenger is None
    assert world.rollouts().begin("v2", world.day).challenger == "v2"


def test_a_pause_ends_with_the_climb_and_holds_no_guard(world: World) -> None:
    world.rollouts().begin("v2", DAY)
    world.rollouts().request("pause", DAY, "ann", "1")
    world.rollouts().request("promote", DAY, "ann", "2")
    world.rollouts().install("v3", DAY, "ann", "3")
    assert world.document.challenger == "v2"
    assert world.tick_for(12, 1.3)[-1] == "promote"
    assert world.steps[-1] == "guarded"


def test_a_guard_of_before_the_first_reading_does_not_end_with_it(world: World) -> None:
    world.rollouts().install("v3", 0, "ann", "request-1")
    step = world.rollouts().tick(world.merged)
    assert step is not None
    assert step.kind == "hold"


@pytest.mark.parametrize("raw", [b"{", b'{"champion": 3}', b"\xff", b"", b'{"champion": "v3", "more": 1}'])
def test_a_control_document_that_is_none_is_written_anew_from_the_ledger(
    world: World, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    world.rollouts().begin("v2", DAY)
    before = world.document
    world.blobs.write("models", "deployment.json", raw)
    world.rollouts().tick(world.merged)
    assert world.document == before
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "written anew" in caplog.text


def test_without_a_step_in_the_ledger_a_control_document_that_is_none_stays() -> None:
    world = World()
    world.blobs.write("models", "deployment.json", b"{")
    world.rollouts().ledger.append("decision", "1", {})
    with pytest.raises(ContractBroken, match=r"models/deployment\.json"):
        world.rollouts().follow()
    assert world.blobs.read("models", "deployment.json") == b"{"
