"""An undisturbed run over the same events: one process, one model, nothing fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.core.model import deployment
from shared.core.model.deployment import Deployment
from shared.core.task.state import State
from shared.settings import Settings
from tests.kit import publish
from tests.simulation.schedule import Chances, Process, Schedule
from tests.simulation.worker import PARTITIONS, READINGS, Simulated, Stores

if TYPE_CHECKING:
    from tests.simulation.stream import Stream


class Quiet:
    """What the events of all lives of the hub "readings" come to when nothing happens.

    Args:
        stream: Whose events.
        model: Version that answers all of them.
    """

    def __init__(self, stream: Stream, model: str) -> None:
        world = stream.world
        schedule = Schedule(0, Chances())
        self.stores = Stores(schedule, world.time, world.stores.task, world.stores.load)
        blobs = self.stores.blobs
        publish(blobs, model)
        blobs.write(deployment.CONTAINER, deployment.NAME, deployment.encode(Deployment(champion=model)))
        settings = Settings(model_refresh_s=0.0, snapshot_commits=10_000, profile_s=1e9)
        worker = Simulated(self.stores, Process("quiet"), settings, beside=False)
        self.states: list[State] = []
        for number in range(PARTITIONS):
            for logs in [*world.stores.hubs[READINGS].lives, world.stores.hubs[READINGS].logs]:
                self.stores.hubs[READINGS].logs[number] = logs[number]
                if logs[number]:
                    worker.take(READINGS, number, logs[number])
            self.states.append(worker.partition(number).recovered())
        self.values = {key[:2]: answer for key, answer in sorted(self._answers().items())}

    def _answers(self) -> dict[tuple[str, int, int], tuple[float, float, float]]:
        found = {}
        for name in self.stores.blobs.names("predictions"):
            rows = self.stores.files.read_predictions(self.stores.blobs.read("predictions", name) or b"")
            for place, device in enumerate(rows["device_id"]):
                value, lower, upper = (float(rows[column][place]) for column in ("value", "lower", "upper"))
                found[device, int(rows["as_of"][place]), int(rows["revision"][place])] = value, lower, upper
        return found
