"""The test kit: the application as production wires it, on stores in memory, and what tests do to it.

>>> app = InMemory()
>>> app.hear(*(message("a", hour) for hour in range(9)))
>>> app.drop("b.csv", table(*(row("b", hour) for hour in range(9))))
>>> app.score()
>>> found = app.forecasts()  # by device, as-of hour and revision: value and model
>>> len(found), found["a", HOUR, 0]
(18, (626.0, 'v1'))

It stands with the tests and not in `shared`, since nothing that is deployed may need it. What it is made of can be used
alone: `assemble` (the application on any stores), `Bench` (one partition of it), stores, hubs and jobs in memory, some
of which fail or forget when told, the small scenario (`scenario`) and its model (`model`).
"""

from tests.kit.application import InMemory, assemble, newest
from tests.kit.bench import Bench, picture
from tests.kit.faults import Faulty, Forgetful, HandClock
from tests.kit.memory import MemoryBlobs, MemoryJobs, MemoryRegistry, MemoryStream
from tests.kit.model import Guess, deploy, load, publish
from tests.kit.scenario import (
    CHANNELS,
    CSV,
    HEAD,
    HOUR,
    SCENARIO,
    SIZES,
    TASK,
    Row,
    fixed,
    hourly,
    message,
    readings,
    row,
    small,
    table,
    window_features,
)

__all__ = [
    "CHANNELS",
    "CSV",
    "HEAD",
    "HOUR",
    "SCENARIO",
    "SIZES",
    "TASK",
    "Bench",
    "Faulty",
    "Forgetful",
    "Guess",
    "HandClock",
    "InMemory",
    "MemoryBlobs",
    "MemoryJobs",
    "MemoryRegistry",
    "MemoryStream",
    "Row",
    "assemble",
    "deploy",
    "fixed",
    "hourly",
    "load",
    "message",
    "newest",
    "picture",
    "publish",
    "readings",
    "row",
    "small",
    "table",
    "window_features",
]
