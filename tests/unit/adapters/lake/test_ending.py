"""A short program ends with its own exit code and all its output, whatever threads it leaves."""

from __future__ import annotations

import os
import subprocess
import sys

from tests import ROOT

PROGRAM = """
import atexit, os, sys, threading
from shared.adapters.lake.ending import leave
class Late:
    def __del__(self):
        os.abort()  # as a thread that asks for an interpreter that is being taken down
held = Late()
atexit.register(lambda: print("registered"))
threading.Thread(target=threading.Event().wait).start()
sys.stdout.write("told, ")
leave(7)
"""


def test_the_exit_code_and_the_output_are_the_programs_own() -> None:
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, "told, registered\n", "")


def test_output_that_nobody_reads_does_not_change_the_exit_code() -> None:
    buffered = "import sys\nsys.stdout = open(1, 'w')\nsys.stdout.write('x')\n"
    code = f"from shared.adapters.lake.ending import leave\n{buffered}leave(3)\n"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False, stdout=writer)  # noqa: S603
    finally:
        os.close(writer)
    assert done.returncode == 3
