"""Write tests/golden/since anew: `python -m tests.golden.make_since`, after a wanted change of what is written."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from shared.core.scenario.shape import encode, shape_of
from tests.golden import kept
from tests.golden.evolved import evolved
from tests.golden.stories import SMALL, everything, released, small_story


def main() -> None:
    kept.write(kept.SINCE / "evolved", {"first.json": encode([shape_of(SMALL.scenario)])})
    with tempfile.TemporaryDirectory() as folder:
        small = small_story(Path(folder))
    shutil.rmtree(kept.SINCE / "small", ignore_errors=True)
    events = {f"{name}.msgpack": kept.packed(log) for name, log in small.hubs.items()}
    kept.write(kept.SINCE / "small" / "hubs", events)
    for name, blobs in (("small", small.out()), ("release", everything(released().blobs)), ("evolved", evolved())):
        shutil.rmtree(kept.SINCE / name / "blobs", ignore_errors=True)
        kept.write(kept.SINCE / name / "blobs", {"/".join(place): raw for place, raw in blobs.items()})


if __name__ == "__main__":
    main()
