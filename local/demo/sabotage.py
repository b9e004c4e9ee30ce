"""Models that answer wrongly on purpose, whole in every formal respect: for seeing that the loop refuses them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from local.stack.workspace import Workspace
from shared.app.loop.results import Result
from shared.core.gate import evidence as gate_evidence
from shared.core.gate.evidence import Evidence
from shared.core.model.manifest import decode_arrays, decode_manifest, encode_arrays, encode_manifest
from shared.core.model.scoring import bounds, clip
from shared.core.scenario import Scenario
from shared.core.task.tasks import task_of
from training.model import champion as packages
from training.model import damped_persistence
from training.model.champion import Champion
from training.model.hourly import rows as data
from training.model.hourly.lake import history
from training.model.hourly.rows import TrainingSet


def shifted(files: Mapping[str, bytes], version: str, by: float) -> dict[str, bytes]:
    """A package whose model says `by` more than the one it is made from; its golden rows and checksums say so too."""
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


def leave_bad_jobs(space: Workspace, jobs: Sequence[str], champion: str, bad: str) -> None:
    """What jobs would leave that trained a bad model: the result, and honest evidence of how bad it is."""
    task, lake = task_of(space.scenario), space.lake()
    version = lake.version() or 0
    good, other = (packages.load(space.blobs, each, task.features, space.scenario.cadence) for each in (champion, bad))
    found, _ = history(space.scenario, lake.delta.uri, lake.delta.options, version)
    rows = data.from_history(task, found, since=good.trained_until)
    made = gate_evidence.encode(evidence(space.scenario, rows, good, other))
    manifest = good.model.manifest
    result = Result(
        job="",
        version=bad,
        run_id=manifest.run_id,
        dataset=f"lake@{version}",
        trained_until=good.trained_until,
        parity=0.0,
    )
    for job in jobs:
        space.blobs.write("models", f"jobs/{job}.npz", made)
        written = msgspec.structs.replace(result, job=job)
        space.blobs.write("models", f"jobs/{job}.json", msgspec.json.encode(written))


def evidence(scenario: Scenario, rows: TrainingSet, champion: Champion, challenger: Champion) -> Evidence:
    """What both models say of rows that neither has seen, beside what came."""
    manifest = challenger.model.manifest
    value = clip(scenario, challenger.model.predict(rows.matrix))
    lower, upper = bounds(scenario, manifest.interval, value)
    return Evidence(
        devices=rows.devices,
        device=rows.device,
        as_of=rows.as_of,
        trained_until=np.full(len(rows), challenger.trained_until, np.int64),
        truth=rows.target,
        witness=np.full(len(rows), np.nan, np.float32),
        challenger=value,
        champion=champion.forecast(scenario, rows),
        persistence=rows.latest,
        damped=damped_persistence.forecast(manifest.damped, rows),
        lower=lower,
        upper=upper,
    )
