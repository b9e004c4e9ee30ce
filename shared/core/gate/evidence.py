"""What the gate looks at: forecasts of both models beside the truth, and facts about the challenger's package."""

from __future__ import annotations

from dataclasses import dataclass, fields

import msgspec
import numpy as np

from shared.core.intake.readings import Floats, Ints, Longs
from shared.core.model.manifest import Arrays, decode_arrays, encode_arrays
from shared.errors import ContractBroken

LATEST_HOUR = 2**31 // 60
MOST_CLASSES = 1000
_OTHERS = ("devices",)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is compared.

    Args:
        version: Its version.
        sha256: Of its `model.onnx`.
        trained_until: Hour (since 1970) of the last truth it was trained on.
    """

    version: str
    sha256: str
    trained_until: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known without looking at forecasts; found out by the gate's side but for `parity`, which the job tells.

    Args:
        challenger: The model that wants to serve.
        champion: The one that serves, None when there is none yet.
        damage: What is wrong with the package's files, "" when they are intact.
        unknown_features: Names (with versions) that this code cannot compute.
        parity: Largest difference between the exported and the trained model, in the target's unit.
        size_mb: Of the package.
        latency_ms: Of one scoring call. This and the two before are None when unknown, which no rule lets pass.
    """

    challenger: Model
    champion: Model | None
    damage: str = ""
    unknown_features: tuple[str, ...] = ()
    parity: float | None
    size_mb: float | None
    latency_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Rows whose truth is known, one for each device and as-of hour, rising within a device; shape (n,) each.

    Args:
        devices: Device ids that `device` points into.
        device: Index into `devices`.
        as_of: As-of hours since 1970.
        trained_until: Hour of the last truth that the model behind the challenger's forecast had seen.

    Raises:
        ContractBroken: Arrays differ in length, or an index or hour is out of range.
    """

    devices: tuple[str, ...]
    device: Ints
    as_of: Longs
    trained_until: Longs

    def __post_init__(self) -> None:
        """Refuse what could not even be judged."""
        rows = len(self.as_of)
        for field in fields(self):
            if field.name not in _OTHERS and np.shape(getattr(self, field.name)) != (rows,):
                raise ContractBroken(f"evidence: {field.name} has not the shape of as_of, ({rows},)")
        if rows and not (self.device.min() >= 0 and self.device.max() < len(self.devices)):
            raise ContractBroken(f"evidence: device is outside 0 to {len(self.devices) - 1}")
        if len(set(self.devices)) != len(self.devices):
            raise ContractBroken("evidence: a device stands in devices twice")
        if rows and not (self.as_of.min() >= 0 and self.as_of.max() <= LATEST_HOUR):
            raise ContractBroken(f"evidence: as_of is outside 0 to {LATEST_HOUR}")

    def __len__(self) -> int:
        return len(self.as_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Answers):
    """Forecasts of numbers beside what came.

    Args:
        truth: What came, as the training job saw it.
        witness: The same, read anew for the row's device and hour by the gate's side.
        challenger: Its forecast by a model that had not seen the truth.
        champion: Its forecast, NaN where it is not judged.
        persistence: The value as of now, NaN where missing.
        damped: Damped persistence, NaN where missing.
        lower: Lower end of the challenger's interval.
        upper: Upper end.
    """

    truth: Floats
    witness: Floats
    challenger: Floats
    champion: Floats
    persistence: Floats
    damped: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEvidence(Answers):
    """Forecasts of classes (0, 1, ...) beside what came, -1 where there is none.

    Args:
        truth: The class that came, as the training job saw it.
        witness: The same, read anew by the gate's side.
        challenger: Its forecast by a model that had not seen the truth.
        champion: Its forecast, -1 where it is not judged.
        floor: What it has to beat when there is no champion, such as the class as of now.

    Raises:
        ContractBroken: As for `Answers`, or a class is 1000 or more.
    """

    truth: Ints
    witness: Ints
    challenger: Ints
    champion: Ints
    floor: Ints

    def __post_init__(self) -> None:
        """Refuse what could not even be judged."""
        Answers.__post_init__(self)
        for name in ("truth", "challenger", "champion", "floor"):
            if getattr(self, name).max(initial=-1) >= MOST_CLASSES:
                raise ContractBroken(f"evidence: {name} has a class that is not below {MOST_CLASSES}")


def encode(evidence: Evidence) -> bytes:
    """Write evidence as an npz; the same evidence gives the same bytes."""
    arrays = {field.name: getattr(evidence, field.name) for field in fields(evidence)}
    names = msgspec.json.encode(evidence.devices)
    return encode_arrays({**arrays, "devices": np.frombuffer(names, np.uint8)})


def decode(raw: bytes) -> Evidence:
    """Read evidence.

    Raises:
        ContractBroken: Not such an npz, an array is missing, unknown or of another kind, or rows do not fit together.
    """
    arrays = decode_arrays("evidence.npz", raw)
    wanted = {field.name for field in fields(Evidence)}
    if arrays.keys() != wanted:
        raise ContractBroken(f"evidence.npz: missing or unknown: {', '.join(sorted(arrays.keys() ^ wanted))}"[:500])
    try:
        devices = msgspec.json.decode(arrays.pop("devices").tobytes(), type=tuple[str, ...])
        typed: Arrays = {
            name: array.astype(_WHOLE.get(name, np.float32), casting="same_kind") for name, array in arrays.items()
        }
        return Evidence(devices=devices, **typed)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise ContractBroken(f"evidence.npz: {error}") from error


_WHOLE: dict[str, type] = {"device": np.int32, "as_of": np.int64, "trained_until": np.int64}
