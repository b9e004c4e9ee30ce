"""Programs of ours in processes of their own: their limits and what they are given."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext

import pytest

from shared.adapters.confined import check_left_alone, start
from shared.errors import TransientFailure

LIMITS = "from shared.adapters.confined import confine; confine(500, 7); import resource as r; " + "; ".join(
    f"print(r.getrlimit(r.RLIMIT_{name})[1])" for name in ("AS", "CPU", "CORE")
)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems lack some of the limits")
def test_a_confined_process_has_its_limits_for_good() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITS], capture_output=True, check=True)  # noqa: S603 - our own
    assert done.stdout.split() == [b"500000000", b"7", b"0"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs groups of processes")
def test_what_ends_the_host_from_its_terminal_does_not_reach_a_program() -> None:
    with start("timeit", ("-n1", "-r1", "input()"), subprocess.PIPE) as process:
        assert os.getpgid(process.pid) != os.getpgid(0)
        assert os.getsid(process.pid) == process.pid
        process.communicate(b"x\n")


@pytest.mark.parametrize(
    ("code", "outside"), [(-15, True), (-2, True), (-9, False), (-24, False), (1, False), (0, False)]
)
def test_only_a_request_to_end_comes_from_outside(code: int, outside: bool) -> None:
    script = f"import os; os._exit({code})" if code >= 0 else f"import os; os.kill(os.getpid(), {-code})"
    process = subprocess.Popen([sys.executable, "-S", "-c", f"import signal; signal.signal(2, 0); {script}"])  # noqa: S603 - our own
    with process, pytest.raises(TransientFailure, match="x was ended") if outside else nullcontext():
        check_left_alone("x", process)


def test_a_program_is_given_where_code_is_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINGS", "Endpoint=sb://x;SharedAccessKey=secret")
    with start("shared.adapters.confined", (), subprocess.PIPE) as process:
        assert process.communicate() == (b"", b"")  # imported with everything it needs, and nothing else to do
    environment = start("timeit", ("-n1", "-r1", "import os; print(sorted(os.environ))"), subprocess.PIPE)
    with environment:
        said, _ = environment.communicate()
    assert b"PYTHONPATH" in said
    assert b"READINGS" not in said
