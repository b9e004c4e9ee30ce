"""A package that answers wrongly on purpose, whole in every formal respect: for seeing that the loop takes it back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np

from shared.app.completion import Result
from shared.core import gate_evidence
from shared.core.package import decode_arrays, decode_manifest, encode_arrays, encode_manifest
from shared.ports import Blobs


def shifted(files: Mapping[str, bytes], version: str, by: float) -> dict[str, bytes]:
    """A package whose model says `by` more than the one it is made from; its golden rows and checksums say so too.

    Args:
        files: The package.
        version: Name of the new one.
        by: In the target's unit.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(files["model.onnx"])
    graph, output = model.graph, model.graph.output[0].name
    for node in graph.node:
        node.output[:] = ["unshifted" if name == output else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.array(by, np.float32), "sabotage"))
    graph.node.append(helper.make_node("Add", ["unshifted", "sabotage"], [output]))
    golden = decode_arrays("golden.npz", files["golden.npz"])
    name = next(key for key in golden if "output" in key)
    golden[name] = (golden[name] + by).astype(golden[name].dtype)
    made = {**files, "model.onnx": model.SerializeToString(), "golden.npz": encode_arrays(golden)}
    manifest = decode_manifest(files["manifest.json"])
    digests = {key: hashlib.sha256(made[key]).hexdigest() for key in manifest.sha256}
    manifest = msgspec.structs.replace(manifest, version=version, sha256=digests)
    return {**made, "manifest.json": encode_manifest(manifest)}


def leave_bad_job(blobs: Blobs, job: str, pattern: str, version: str, by: float) -> None:
    """What a job would leave that trained a model which says `by` too much: package's place, evidence and result.

    Args:
        blobs: The store.
        job: Name of the job.
        pattern: Job whose evidence and result are taken as the pattern.
        version: The bad package, published before.
        by: In the target's unit.
    """
    evidence = gate_evidence.decode(blobs.read("models", f"jobs/{pattern}.npz") or b"")
    wrong = {name: (getattr(evidence, name) + np.float32(by)) for name in ("challenger", "lower", "upper")}
    result = msgspec.json.decode(blobs.read("models", f"jobs/{pattern}.json") or b"", type=Result)
    blobs.write("models", f"jobs/{job}.npz", gate_evidence.encode(replace(evidence, **wrong)))
    told = msgspec.structs.replace(result, job=job, version=version)
    blobs.write("models", f"jobs/{job}.json", msgspec.json.encode(told))
