"""A model's trial: it is loaded and run once in a process of its own before it is loaded here."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass

import msgspec

from shared.adapters.confined import STARTED, check_left_alone, start
from shared.errors import ContractBroken, TransientFailure

PROGRAM = "shared.adapters.models.onnx_trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """What loading a model and running it once may take.

    Args:
        memory_mb: Most address space of the process, of which it needs 200 itself.
        seconds: Most processor seconds; it is given ten times as long by the clock.
    """

    memory_mb: int = 1_000
    seconds: int = 60


def try_out(raw: bytes, limits: ModelLimits) -> None:
    """Load a model and run it once, elsewhere.

    Args:
        raw: The model file.
        limits: What that may take.

    Raises:
        ContractBroken: The model is refused, or ended its process.
        TransientFailure: The process did not start, got no processor, or was ended from outside.
    """
    process = start(PROGRAM, (limits.memory_mb, limits.seconds), subprocess.DEVNULL)
    with process:
        try:
            said, _ = process.communicate(raw, timeout=10 * limits.seconds)
        except subprocess.TimeoutExpired as error:
            raise TransientFailure(f"model.onnx: its trial took more than {10 * limits.seconds} s") from error
        finally:
            process.kill()
    if not said.startswith(STARTED):
        raise TransientFailure(f"{PROGRAM} does not start: exit code {process.returncode}")
    if not said.strip():
        check_left_alone(PROGRAM, process)
        allowed = f"MODEL_MB = {limits.memory_mb}, MODEL_S = {limits.seconds}"
        raise ContractBroken(f"model.onnx: ended the process that tried it (code {process.returncode}; {allowed})")
    if refused := msgspec.json.decode(said, type=dict[str, str]).get("refused"):
        raise ContractBroken(refused)
