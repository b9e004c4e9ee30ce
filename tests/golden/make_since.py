"""Write tests/golden/since anew: `python -m tests.golden.make_since`, after a wanted change of what is written."""

from __future__ import annotations

import shutil

from shared.core.scenario.shape import encode, shape_of
from tests.golden import kept
from tests.golden.evolved import evolved
from tests.golden.stories import SMALL, everything, released


def main() -> None:
    kept.write(kept.SINCE / "evolved", {"first.json": encode([shape_of(SMALL.scenario)])})
    for name, blobs in (("release", everything(released().blobs)), ("evolved", evolved())):
        shutil.rmtree(kept.SINCE / name / "blobs", ignore_errors=True)
        kept.write(kept.SINCE / name / "blobs", {"/".join(place): raw for place, raw in blobs.items()})


if __name__ == "__main__":
    main()
