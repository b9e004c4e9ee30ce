"""When checkpoints are written: every so many batches, but never so often that the store is busy with nothing else."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field

from azure.core.exceptions import AzureError
from azure.eventhub import EventData

from shared.adapters.stores.azure_errors import brief

log = logging.getLogger("host.checkpoints")


@dataclass
class Checkpoints:
    """The newest finished event per partition, on its way to the store.

    A checkpoint that is written late, or not at all in a crash, means redelivery, which functions must bear anyhow.

    Args:
        write: Stores one partition's checkpoint.
        every: Batches per checkpoint (batchCheckpointFrequency).
        interval_s: Least time between two writes of a partition, in seconds.
    """

    write: Callable[[str, EventData], Awaitable[None]]
    _: KW_ONLY
    every: int
    interval_s: float
    _newest: dict[str, EventData] = field(default_factory=dict, init=False)
    _batches: dict[str, int] = field(default_factory=dict, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def finished(self, partition: str, last: EventData) -> None:
        """A batch of a partition is done; `last` is its last event."""
        self._newest[partition] = last
        self._batches[partition] = self._batches.get(partition, 0) + 1
        self._wake.set()

    def forget(self, partition: str) -> None:
        """Another owner has the partition now and may be further: nothing of it is written any more."""
        self._newest.pop(partition, None)
        self._batches.pop(partition, None)

    async def run(self) -> None:
        """Write what is due until cancelled: at once after a pause, else once an interval."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_all([each for each, count in self._batches.items() if count >= self.every])
            await asyncio.sleep(self.interval_s)

    async def flush(self) -> None:
        """Write all that is finished, whatever the count says."""
        await self._write_all(list(self._newest))

    async def _write_all(self, partitions: list[str]) -> None:
        await asyncio.gather(*(self._write_one(partition) for partition in partitions))

    async def _write_one(self, partition: str) -> None:
        last, count = self._newest.get(partition), self._batches.get(partition, 0)
        if last is None:  # forgotten meanwhile
            return
        try:
            await self.write(partition, last)
        except (AzureError, OSError) as error:
            log.warning("partition %s: checkpoint not written: %s", partition, brief(error))
            self._wake.set()
            return
        if self._newest.get(partition) is last:
            self.forget(partition)
        elif partition in self._batches:
            self._batches[partition] = max(self._batches[partition] - count, 0)
