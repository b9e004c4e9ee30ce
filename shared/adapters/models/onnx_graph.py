"""An ONNX graph that gives the same bits for a row whatever batch it stands in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

from shared.adapters.models.onnx_check import check
from shared.core.intake.readings import Floats
from shared.errors import ContractBroken

ROWS = 128  # rows of one run: larger blocks leave the processor's cache, smaller ones pay the call
ORDER_FREE = "airloop.order_free"
"""Metadata key of a graph whose sums have one result in every order, so that blocks may have any size."""
_RUNTIME_ERRORS = (
    runtime.EngineError,
    runtime.Fail,
    runtime.InvalidArgument,
    runtime.InvalidGraph,
    runtime.InvalidProtobuf,
    runtime.NoModel,
    runtime.NoSuchFile,
    runtime.NotImplemented,
    runtime.RuntimeException,
    RuntimeError,
    ValueError,  # text inside the model that is not UTF-8
)


class Graph:
    """An ONNX graph from float32 [N, F] to float32 [N, 1] or [N], run in blocks of rows.

    A graph that is not marked as order-free gets blocks of one fixed size, the last one padded: its sums may depend on
    the shape.

    Args:
        raw: The model file.
        threads: Threads within an operator.

    Raises:
        ContractBroken: Not a model of that form, or one that could do more than answer; see `onnx_check`.
    """

    def __init__(self, raw: bytes, *, threads: int = 1) -> None:
        check(raw)
        with translated():
            self._session = onnxruntime.InferenceSession(
                raw, _options(threads), providers=["CPUExecutionProvider"], enable_fallback=False
            )
            self._input, self.width = _signature(self._session)
            self._pad = ORDER_FREE not in self._session.get_modelmeta().custom_metadata_map

    def run(self, inputs: Floats) -> Floats:
        """Score rows in the graph's own column order.

        Args:
            inputs: float32, shape (n, width).

        Returns:
            float32, shape (n,), whatever the graph says, NaN included.

        Raises:
            ContractBroken: The runtime cannot run the graph.
        """
        scored = np.empty(len(inputs), dtype=np.float32)
        for start in range(0, len(inputs), ROWS):
            block = inputs[start : start + ROWS]
            scored[start : start + ROWS] = self._block(block)[: len(block)]
        return scored

    def _block(self, block: Floats) -> Floats:
        if self._pad and len(block) < ROWS:
            block = np.concatenate([block, np.zeros((ROWS - len(block), block.shape[1]), dtype=np.float32)])
        with translated():
            (output,) = self._session.run(None, {self._input: block})
        if output.size != len(block):
            raise ContractBroken(f"model.onnx: gives {output.size} values for {len(block)} rows")
        values: Floats = output.reshape(-1)
        return values


def _signature(session: onnxruntime.InferenceSession) -> tuple[str, int]:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ContractBroken(f"model.onnx: has {len(inputs)} inputs and {len(outputs)} outputs, one of each is needed")
    given, result = inputs[0], outputs[0]
    if {given.type, result.type} != {"tensor(float)"}:
        raise ContractBroken(f"model.onnx: goes from {given.type} to {result.type}, float32 tensors are needed")
    if len(given.shape) != 2 or isinstance(given.shape[0], int) or not isinstance(given.shape[1], int):
        raise ContractBroken(f"model.onnx: input shape {given.shape} is not [N, number of features]")
    return given.name, given.shape[1]


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a waiting thread must not burn a core
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the only one that was checked
    options.log_severity_level = 4  # what matters arrives as an exception
    return options


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the runtime as ours."""
    try:
        yield
    except _RUNTIME_ERRORS as error:
        message = " ".join(str(error).split())[:300] or type(error).__name__
        raise ContractBroken(f"model.onnx: {message}") from error
