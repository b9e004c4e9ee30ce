"""The stream in the world: hubs, triggers that redeliver, skip and change hands, files, replays and the lake."""

from __future__ import annotations

from collections.abc import Callable

from shared.app import evolution
from shared.core.intake import progress
from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.stream.commit import folder, partition_in, place_of
from shared.core.stream.events import partition_of
from shared.errors import ContractBroken
from tests.kit import CSV, message, row
from tests.kit.model import publish
from tests.simulation import stream_checks
from tests.simulation.models import EDITS, UNEDITED, Windowed
from tests.simulation.story import Arrival, story
from tests.simulation.triggers import KEYS, Key, Trigger, Triggers
from tests.simulation.worker import DEVICES, PARTITIONS, READINGS
from tests.simulation.world import DAY_MS, World

BUSY = 0.85  # after this part of a run everything has arrived
HELD, FILLED = 0.8, 0.3  # how often somebody holds events of a hub that goes, and how often the new one gets them again
VERSIONS = ("v1", "v2", "v3")


class Stream:
    """The fast half.

    Args:
        world: Where it happens.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.hubs, self.blobs = world.stores.hubs, world.stores.blobs
        self.triggers = Triggers(world)
        arrivals = story(world.seed, world.conditions)
        world.arrivals = len(arrivals)
        self.coming = [arrival for place, arrival in enumerate(arrivals) if place not in world.cut.arrivals]
        self.files: list[str] = []
        self.lost = False  # whether a commit was
        self.closing = ""  # name of a hub that is to be created anew
        for version in VERSIONS if world.kind == "stream" else ():
            publish(self.blobs, version)
        if world.kind == "stream":
            self._serve(Deployment(champion="v1"))
        self.acts: list[tuple[float, Callable[[], None]]] = [
            (8, self._arrive),
            (14, self.triggers.deliver),
            *((weight, act) for name, weight, act in self._at_times() if name in world.on),
        ]

    def _at_times(self) -> list[tuple[str, float, Callable[[], None]]]:
        return [
            ("moves", self.world.conditions.unrest, self.triggers.move),
            ("files", 0.8, self._sweep),
            ("replays", 0.4, self._replay),
            ("moves", 0.3, self.triggers.lose_checkpoint),
            ("swaps", 0.5, self._swap),
            ("damage", 0.3, self._damage),
            ("compaction", 0.6, self._compact),
            ("removal", 0.6, self._compact),
            ("anew", 0.8, self._recreate),
            ("forgets", 0.3, self._forget),
            ("rewound", 0.2, self._rewind_snapshots),
            ("replaced", 0.5, self._replace_file),
            ("edits", 0.1, self._edit_scenario),
            ("losses", 0.2, self._lose_commit),
        ]

    def happen(self) -> None:
        if not self.world.ordinary():
            self.world.schedule.one_of(self.acts)

    def _arrive(self) -> None:
        if self.closing:
            self._close()
            return
        due = self.world.arrivals * self.world.schedule.turn / (BUSY * self.world.conditions.turns)
        while self.coming and self.world.arrivals - len(self.coming) < due:
            self._one_arrives(self.coming.pop(0))

    def _one_arrives(self, arrival: Arrival, *, noticed: bool = True) -> None:
        world, random = self.world, self.world.schedule.random
        if isinstance(arrival.where, int):
            self.hubs[DEVICES].append(arrival.where, arrival.body)
            return
        self.blobs.write("incoming", arrival.where, arrival.body)
        self.files.append(arrival.where)
        if noticed and random.random() < 0.8:
            for _ in range(random.choice((1, 1, 2))):
                world.call(f"file {arrival.where}", lambda worker: worker.route_file(str(arrival.where)))

    def _sweep(self) -> None:
        for _ in range(self.world.schedule.random.choice((1, 1, 2))):
            self.world.call("sweep", lambda worker: worker.sweep())

    def _replay(self) -> None:
        prefix = self.world.schedule.random.choice(("", "hub/0", "file", "partition"))
        reasons = self.world.schedule.random.choice(([], [], ["conflict"]))
        self.world.call("replay", lambda worker: worker.resubmit(prefix, reasons))

    def _compact(self) -> None:
        random = self.world.schedule.random
        if "removal" in self.world.on and random.random() < 0.3:
            self.world.time.ms += DAY_MS  # once a day what is old is removed
        for _ in range(random.choice((1, 1, 2))):
            self.world.call("compact", lambda worker: worker.loop.compact(), refusals=(ContractBroken,))

    def _serve(self, wanted: Deployment) -> None:
        self.blobs.write(deployment.CONTAINER, deployment.NAME, deployment.encode(wanted))

    def _swap(self) -> None:
        if self.world.kind != "stream":
            return  # there the loop's own rollouts decide who answers
        random = self.world.schedule.random
        one, other = random.sample(VERSIONS, 2)
        share, salt = random.choice((0.0, 0.5)), random.choice(("", "s"))
        wanted = random.choice(
            (
                Deployment(champion=one),
                Deployment(champion=one, challenger=other, share=share, salt=salt),
                Deployment(champion=one, quarantine=["d1"]),
            )
        )
        self.world.schedule.tell(f"{wanted.champion} answers, {wanted.challenger} beside it")
        self._serve(wanted)

    def _damage(self) -> None:
        """Half a snapshot or profile heals by itself; a commit has to be put back."""
        random = self.world.schedule.random
        container = random.choice(("state", "state", "profiles", "commits", "predictions", "progress", "mend", "mend"))
        names = self.blobs.names(container)
        if container == "mend":
            self.world.mend()
        elif names:
            name = random.choice(names)
            raw = self.blobs.read(container, name) or b""
            bad = random.choice((raw[: len(raw) // 2], b"", b"\0" * 100, raw[:-1] + b"x"))
            heals = container in {"state", "profiles"}
            if heals or (container, name) not in self.world.damaged:
                self.world.damage(container, name, bad, mended=not heals)

    def _rewind_snapshots(self) -> None:
        """The newest snapshot of a partition is gone, as if it had never been taken."""
        names = self.blobs.names("state")
        if names:
            self.blobs.delete("state", max(names, key=lambda name: name))
            self.world.schedule.tell("the newest snapshot is gone")

    def _lose_commit(self) -> None:
        """The store loses a write that it had acknowledged, of events that the hub still has."""
        if self.world.kind != "stream":
            return  # the loop's rollouts change who answers, and what is made again has the answers of now
        hub, compacted, damaged = self.hubs[READINGS], self.world.stores.lake.begun(), self.world.damaged
        names = self.blobs.names("commits")
        lost = [
            name
            for name in names
            if name not in compacted
            and ("commits", name) not in damaged
            and place_of(name)[0] == len(hub.lives)
            and place_of(name)[1] >= hub.begin[partition_in(name)]
        ]
        if lost:
            name = self.world.schedule.random.choice(lost[-2:])
            self.blobs.delete("commits", name)
            self.lost, self.world.excused = True, (ContractBroken,)  # whoever has just listed it finds it gone
            self.world.schedule.tell(f"the store loses commits/{name}")
            self.triggers.move((READINGS, partition_in(name)))

    def _replace_file(self) -> None:
        """A dropped file is replaced or deleted, perhaps while it is read."""
        random = self.world.schedule.random
        if not self.files:
            return
        name = random.choice(self.files)
        if random.random() < 0.3:
            self.blobs.delete("incoming", name)
        else:
            lines = [CSV, *(row(f"{name[:-4]}b", hour, random.randint(0, 99)) for hour in range(random.randint(1, 12)))]
            self._one_arrives(Arrival(name, "\n".join([*lines, ""]).encode()))
        self.world.schedule.tell(f"file {name} is replaced or deleted")

    def _edit_scenario(self) -> None:
        """Somebody edits the scenario, and processes that start from here on have it so; the others go on for now."""
        stores, random = self.world.stores, self.world.schedule.random
        if stores.task is not UNEDITED:
            return
        stores.task = Windowed(random.choice(EDITS))
        evolution.migrate(stores.task.scenario, self.blobs, dry_run=False)
        stores.files = self.world.start().files
        self.world.schedule.tell("the scenario is edited")

    def reached(self, key: Key) -> int:
        """How far everything of the hub as it stands is committed, or routed."""
        hub, number = key
        life = len(self.hubs[hub].lives)
        if hub == READINGS:
            names = self.blobs.names("commits", folder(number, life))
            names += [name for name, _ in self.world.stores.lake.commits(number) if place_of(name)[0] == life]
            ends = [self._end(name, number) for name in names]
            return max(ends, default=0)
        raw = self.blobs.read(progress.CONTAINER, progress.name_of(number))
        at = (
            progress.decode(raw)
            if raw and (progress.CONTAINER, progress.name_of(number)) not in self.world.damaged
            else None
        )
        return at.next if at and at.epoch == life else 0

    def _end(self, name: str, number: int) -> int:
        raw = self.world.damaged.get(("commits", name)) or self.blobs.read("commits", name)
        if raw is not None:
            return int(self.world.stores.files.decode_commit(raw)[0].next)
        return max(commit.next for each, commit in self.world.stores.lake.commits(number) if each == name)

    def _forget(self) -> None:
        """A hub forgets what everybody has read."""
        key = self.world.schedule.random.choice(KEYS)
        self.hubs[key[0]].begin[key[1]] = max(self.hubs[key[0]].begin[key[1]], self.reached(key))

    def _recreate(self) -> None:
        """Somebody wants a hub created anew: from here on nothing arrives until it is read to its end."""
        name = self.world.schedule.random.choice((READINGS, READINGS, DEVICES))
        if len(self.hubs[name].lives) < 3 and all(self.hubs[name].logs):
            self.closing = name

    def _close(self) -> None:
        """Create the hub anew once it is read to its end; processes keep what they hold."""
        ends = {number: len(log) for number, log in enumerate(self.hubs[self.closing].logs)}
        waiting = [number for number, end in ends.items() if self.reached((self.closing, number)) < end]
        for number in waiting:
            self.triggers.give((self.closing, number))
        if not waiting:
            self._anew(self.closing)
            self.closing = ""

    def _anew(self, name: str) -> None:
        hub = self.hubs[name]
        for number in range(PARTITIONS):
            if self.world.schedule.random.random() < HELD:
                self.triggers.hold((name, number))
        self.world.time.ms = max(self.world.time.ms, hub.newest_ms) + 20_000
        hub.renew()
        for number in range(PARTITIONS):
            self.triggers.held[name, number] = Trigger()
        self.world.schedule.counts[f"{name} anew"] += 1
        self.world.schedule.tell(f"hub {name} is created anew")
        if self.world.schedule.random.random() < FILLED:
            hub.fill()
            self.world.schedule.tell(f"hub {name} is filled with what it had")

    def end(self) -> None:
        world = self.world
        for arrival in self.coming:
            self._one_arrives(arrival, noticed=False)
        self._say_farewell()
        world.time.ms += 8 * 3_600_000  # files that no trigger brought are old enough for the sweep
        for name in self.files:
            world.final.route_file(name)
        for _ in range(4):
            self._take_the_rest()
            world.final.sweep()
        world.final.resubmit()
        self._take_the_rest()
        world.final.loop.compact()

    def _say_farewell(self) -> None:
        """An event at the end of every partition: one that a trigger skipped is missed when a later one comes."""
        names = [f"last{number}" for number in range(20)]
        for number in range(PARTITIONS):
            for owner in range(PARTITIONS):
                device = [name for name in names if partition_of(name, PARTITIONS) == owner][number]
                self.hubs[DEVICES].append(number, message(device))

    def _take_the_rest(self) -> None:
        for name in (DEVICES, READINGS):
            for number, log in enumerate(self.hubs[name].logs):
                begin = max(self.triggers.held[name, number].checkpoint, self.hubs[name].begin[number])
                if log[begin:]:
                    self.world.final.take(name, number, log[begin:])
                self.triggers.held[name, number].checkpoint = len(log)

    def check(self) -> None:
        stream_checks.check(self)
