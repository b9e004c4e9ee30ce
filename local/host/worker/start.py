"""Which worker there is: from Python 3.13 on the vendor's own runtime; below, where it cannot be had, an imitation."""

import sys
from pathlib import Path

from local.host.functions import HostError
from local.host.worker.worker import Worker


def start(app_dir: Path) -> Worker:
    """The worker of an app that it has imported and indexed.

    Raises:
        HostError: The import failed, or a function cannot be indexed: the app has no functions then.
    """
    if not (app_dir / "function_app.py").is_file():
        raise HostError(f"{app_dir}/function_app.py does not exist")
    sys.path.insert(0, str(app_dir))
    if sys.version_info >= (3, 13):
        from local.host.worker.vendor import VendorWorker

        return VendorWorker(app_dir)
    from local.host.worker.imitation import ImitationWorker

    return ImitationWorker()
