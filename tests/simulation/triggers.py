"""Triggers: who is given which events, again and again, and what the host notes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.core.stream.events import Event
from tests.simulation.schedule import Killed
from tests.simulation.worker import DEVICES, PARTITIONS, READINGS, Simulated
from tests.simulation.world import World

KEYS = [(hub, number) for hub in (READINGS, DEVICES) for number in range(PARTITIONS)]
Key = tuple[str, int]


@dataclass
class Trigger:
    """Who is given a partition's events, and up to where they count as done.

    Args:
        owner: The process that has the partition.
        checkpoint: Where a new owner begins.
        cursors: Where each process stands that had it since it began there.
        busy: Processes that work on a batch of it.
    """

    owner: Simulated | None = None
    checkpoint: int = 0
    cursors: dict[str, int] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)


class Triggers:
    """The triggers of both hubs.

    Args:
        world: Where they call processes.
    """

    def __init__(self, world: World) -> None:
        self.world, self.hubs = world, world.stores.hubs
        self.held: dict[Key, Trigger] = {key: Trigger() for key in KEYS}

    def deliver(self) -> None:
        self.give(self.world.schedule.random.choice((*KEYS, (READINGS, 0), (READINGS, 1))))

    def move(self, key: Key | None = None) -> None:
        """Another process becomes a partition's owner; the one before may be given a batch all the same."""
        random = self.world.schedule.random
        key, before = key or random.choice(KEYS), None
        if self.world.awake:
            before = self.held[key].owner
            self.give(key, random.choice(self.world.awake))
        if before in self.world.awake and random.random() < 0.7:
            self.give(key, before)

    def give(self, key: Key, to: Simulated | None = None) -> None:
        """A batch for the owner of a partition, who may be one that has only just become it."""
        world, random, trigger = self.world, self.world.schedule.random, self.held[key]
        owner = to or trigger.owner
        if owner is None or owner.process.dead or (owner not in world.awake and random.random() < 0.5):
            if not world.awake:
                return
            owner = random.choice(world.awake)
        name = owner.process.name
        if trigger.owner is not owner:
            trigger.owner, trigger.cursors[name] = owner, trigger.checkpoint
        at, log = trigger.cursors[name], self.hubs[key[0]].logs[key[1]]
        at = max(at, self.hubs[key[0]].begin[key[1]])
        if "skips" in world.on and random.random() < 0.03 and at < len(log) - 1:
            at = min(at + random.randint(1, 5), len(log) - 1)
        batch = log[at : at + random.choice((1, 1, 2, 3, 6, 12))]
        if name in trigger.busy or not batch:
            return
        trigger.busy.add(name)
        life, word = len(self.hubs[key[0]].lives), f"{key[0]}/{key[1]} {batch[0].sequence} to {batch[-1].sequence}"

        def done(error: BaseException | None) -> None:
            trigger.busy.discard(name)
            if life == len(self.hubs[key[0]].lives) and not isinstance(error, Killed):
                self._taken(trigger, owner, batch, error)

        world.call(word, lambda worker: worker.take(*key, batch), worker=owner, done=done)

    def _taken(self, trigger: Trigger, owner: Simulated, batch: list[Event], error: BaseException | None) -> None:
        """The host notes what it has delivered; one without retries does so for a failed batch too."""
        random = self.world.schedule.random
        if error is not None and not ("skips" in self.world.on and random.random() < 0.5):
            return
        trigger.cursors[owner.process.name] = batch[-1].sequence + 1
        mine = trigger.owner is owner or random.random() < 0.3  # a zombie's checkpoint may come late
        if mine and random.random() < 0.8:
            trigger.checkpoint = batch[-1].sequence + 1

    def hold(self, key: Key) -> None:
        """A process is given a partition's last events, again perhaps, and is held up before it looks at them."""
        world, random = self.world, self.world.schedule.random
        batch = self.hubs[key[0]].logs[key[1]][-random.randint(1, 6) :]
        if world.awake and batch:
            world.call(f"{key[0]}/{key[1]} {batch[0].sequence} late", lambda worker: worker.take(*key, batch))
            world.schedule.tasks[-1].asleep_until = world.schedule.now + random.choice((100, 300, 1000))

    def lose_checkpoint(self) -> None:
        trigger = self.held[self.world.schedule.random.choice(KEYS)]
        trigger.checkpoint = max(0, trigger.checkpoint - self.world.schedule.random.randint(0, 8))
        trigger.owner = None
