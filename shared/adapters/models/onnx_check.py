"""What an ONNX file may hold: looked up in its bytes before the runtime sees them.

The runtime reads files that a model names, runs loops while it loads, and allocates what a constant asks for. A model
of ours needs none of it: one graph of operators whose results are about as large as their inputs, its weights inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from shared.errors import ContractBroken

MOST_NODES = 50_000
MOST_VALUES = 50_000_000  # of one tensor
DOMAINS = {
    "": {
        "Abs", "Add", "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
        "BitwiseXor", "Cast", "Ceil", "Clip", "Concat", "Constant", "Div", "Elu", "Equal", "Erf", "Exp",
        "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gelu", "Gemm", "Greater",
        "GreaterOrEqual", "HardSigmoid", "Identity", "IsInf", "IsNaN", "LayerNormalization", "LeakyRelu",
        "Less", "LessOrEqual", "Log", "LogSoftmax", "MatMul", "Max", "Mean", "Min", "Mod", "Mul", "Neg",
        "Not", "Or", "PRelu", "Pow", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Round",
        "Selu", "Shape", "Sigmoid", "Sign", "Slice", "Softmax", "Softplus", "Softsign", "Split", "Sqrt",
        "Squeeze", "Sub", "Sum", "Tanh", "TopK", "Transpose", "Unsqueeze", "Where", "Xor",
    },
    "ai.onnx.ml": {
        "ArrayFeatureExtractor", "Imputer", "LinearRegressor", "Normalizer", "Scaler", "SVMRegressor",
        "TreeEnsemble", "TreeEnsembleRegressor",
    },
}  # fmt: skip
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5  # wire types
_GRAPH, _TRAINING, _FUNCTIONS = 7, 20, 25  # fields of a model
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15  # of a graph
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # of a node
_ATTRIBUTE_TENSOR = 5
_NESTED = {6: "a graph", 10: "tensors", 11: "graphs", 22: "a sparse tensor", 23: "sparse tensors"}  # of an attribute
_DIMS, _EXTERNAL, _LOCATION = 1, 13, 14  # of a tensor

Field = tuple[int, int, "int | memoryview"]


def check(raw: bytes) -> None:
    """Refuse a model that could read files, run without end or grow while it is loaded.

    Raises:
        ContractBroken: It is no model, or holds external data, operators outside the allowed ones, graphs within
            nodes, functions, sparse tensors, or more than 50,000 nodes or 50 million values in a tensor.
    """
    nodes = 0
    for number, _, value in _fields(memoryview(raw)):
        if number in (_TRAINING, _FUNCTIONS):
            raise ContractBroken("model.onnx: holds functions or training steps of its own")
        if number == _GRAPH:
            nodes += _graph(_bytes(value))
    if not nodes:
        raise ContractBroken("model.onnx: holds no graph")


def _graph(graph: memoryview) -> int:
    nodes = 0
    for number, _, value in _fields(graph):
        if number == _NODE:
            nodes += 1
            _node(_bytes(value))
        elif number == _INITIALIZER:
            _tensor(_bytes(value))
        elif number == _SPARSE:
            raise ContractBroken("model.onnx: holds sparse tensors")
        if nodes > MOST_NODES:
            raise ContractBroken(f"model.onnx: holds more than {MOST_NODES} nodes")
    return nodes


def _node(node: memoryview) -> None:
    operator = domain = ""
    for number, _, value in _fields(node):
        if number == _OPERATOR:
            operator = _text(value)
        elif number == _DOMAIN:
            domain = _text(value)
        elif number == _ATTRIBUTE:
            _attribute(_bytes(value))
    if operator not in DOMAINS.get("" if domain == "ai.onnx" else domain, ()):
        name = f"{domain}.{operator}" if domain else operator
        raise ContractBroken(f"model.onnx: the operator {name[:80]!r} is not allowed")


def _attribute(attribute: memoryview) -> None:
    for number, _, value in _fields(attribute):
        if number in _NESTED:
            raise ContractBroken(f"model.onnx: an operator holds {_NESTED[number]}")
        if number == _ATTRIBUTE_TENSOR:
            _tensor(_bytes(value))


def _tensor(tensor: memoryview) -> None:
    dims: list[int] = []
    for number, wire, value in _fields(tensor):
        if number == _EXTERNAL or (number == _LOCATION and value):
            raise ContractBroken("model.onnx: keeps values in another file")
        if number == _DIMS:
            dims += [_number(value)] if wire == _VARINT else _varints(_bytes(value))
    if math.prod(dims) > MOST_VALUES or max(dims, default=0) >= 1 << 63:
        raise ContractBroken(f"model.onnx: a tensor of shape {dims[:8]} has more than {MOST_VALUES} values")


def _fields(message: memoryview) -> Iterator[Field]:
    """A message's fields in order: number, wire type, value."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, wire, value
            continue
        size, at = _varint(message, at) if wire == _BYTES else ({_EIGHT: 8, _FOUR: 4}.get(wire, -1), at)
        if size < 0 or size > len(message) - at:
            raise ContractBroken("model.onnx: not an ONNX model, or cut short")
        yield number, wire, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
    raise ContractBroken("model.onnx: not an ONNX model, or cut short")


def _varints(packed: memoryview) -> list[int]:
    found, at = [], 0
    while at < len(packed):
        value, at = _varint(packed, at)
        found.append(value)
    return found


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ContractBroken("model.onnx: not an ONNX model: a number stands where a message should")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ContractBroken("model.onnx: not an ONNX model: a message stands where a number should")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode(errors="replace")
