"""Write tests/golden/since anew: `python -m tests.golden.make_since`, after a wanted change of what is written."""

from __future__ import annotations

import shutil

from tests.golden import kept
from tests.golden.stories import everything, released


def main() -> None:
    folder = kept.SINCE / "release"
    shutil.rmtree(folder, ignore_errors=True)
    kept.write(folder / "blobs", {"/".join(place): raw for place, raw in everything(released().blobs).items()})


if __name__ == "__main__":
    main()
