"""Programs of ours in processes of their own: their limits and what they are given."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.adapters.confined import start

LIMITS = "from shared.adapters.confined import confine; confine(500, 7); import resource as r; " + "; ".join(
    f"print(r.getrlimit(r.RLIMIT_{name})[1])" for name in ("AS", "CPU", "CORE")
)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems lack some of the limits")
def test_a_confined_process_has_its_limits_for_good() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITS], capture_output=True, check=True)  # noqa: S603 - our own
    assert done.stdout.split() == [b"500000000", b"7", b"0"]


def test_a_program_is_given_where_code_is_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINGS", "Endpoint=sb://x;SharedAccessKey=secret")
    with start("shared.adapters.confined", (), subprocess.PIPE) as process:
        assert process.communicate() == (b"", b"")  # imported with everything it needs, and nothing else to do
    environment = start("timeit", ("-n1", "-r1", "import os; print(sorted(os.environ))"), subprocess.PIPE)
    with environment:
        said, _ = environment.communicate()
    assert b"PYTHONPATH" in said
    assert b"READINGS" not in said
