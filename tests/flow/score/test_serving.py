"""Which model answers: real packages, good and broken, behind the control document."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
import pytest

from shared.adapters.models import onnx_model
from shared.app.score.serving import ChallengerFails, Serving, chance
from shared.core.model.manifest import FILES, decode_arrays, encode_arrays
from shared.core.model.scoring import Inputs, ScoreRequest
from shared.core.task.tasks import task_of
from shared.errors import ContractBroken, TransientFailure
from shared.settings import Settings
from tests.kit import HandClock, MemoryBlobs, MemoryStream, assemble, tiny_model
from tests.kit.tiny_model import FEATURIZER, SCENARIO, announce, changed, deploy, package_of, sealed, upload, version_of

REFRESH_S = 10.0
Files = Mapping[str, bytes]
NEW = "20260102T000000-"


class Reader(MemoryBlobs):
    """Blobs that count how often the control document is asked for, and may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.down: str | None = None

    def read_changed(self, container: str, name: str, etag: str | None) -> tuple[bytes, str] | None:
        self.asked += 1
        return super().read_changed(container, name, etag)

    def read(self, container: str, name: str) -> bytes | None:
        if self.down is not None and name.endswith(self.down):
            raise TransientFailure("the store does not answer")
        return super().read(container, name)


class Place:
    """A store, a clock and a serving that looks every ten seconds."""

    def __init__(self) -> None:
        self.blobs, self.clock = Reader(), HandClock()
        self.serving = self.another()

    def another(self) -> Serving:
        load = partial(onnx_model.load, featurizer_features=FEATURIZER.features)
        return Serving(task_of(SCENARIO), self.blobs, load, self.clock, REFRESH_S)

    def later(self) -> str | None:
        """Ten seconds on: who serves."""
        self.clock.s += REFRESH_S
        return self.serving.current().control.champion


@pytest.fixture
def place() -> Place:
    return Place()


def flip(name: str) -> Callable[[Files], Files]:
    def damage(files: Files) -> Files:
        raw = bytearray(files[name])
        raw[len(raw) // 2] ^= 1
        return {**files, name: bytes(raw)}

    return damage


def without(name: str) -> Callable[[Files], Files]:
    return lambda files: {key: raw for key, raw in files.items() if key != name}


def other_feature_version(files: Files) -> Files:
    features = [(feature.name, feature.version) for feature in FEATURIZER.features]
    features[3] = (features[3][0], features[3][1] + 1)
    return changed(files, features=features)


def unknown_feature(files: Files) -> Files:
    features = [(feature.name, feature.version) for feature in FEATURIZER.features]
    features[3] = ("moon.phase", 1)
    return changed(files, features=features)


def other_golden_rows(files: Files) -> Files:
    golden = decode_arrays("golden.npz", files["golden.npz"])
    golden["outputs"] = golden["outputs"] + np.float32(0.01)
    return sealed(files, golden_npz=encode_arrays(golden))


BROKEN: dict[str, tuple[Callable[[Files], Files], str]] = {
    **{f"flipped byte in {name}": (flip(name), f"{name}: sha256 is .*, manifest.json says") for name in FILES},
    "manifest that is not UTF-8": (
        lambda files: {**files, "manifest.json": files["manifest.json"].replace(b"run-1", b"run-\xff")},
        "manifest.json: .*utf-8",
    ),
    "manifest that is cut": (
        lambda files: {**files, "manifest.json": files["manifest.json"][:-40]},
        "manifest.json: Input data was truncated",
    ),
    **{f"no {name}": (without(name), f"{NEW}.*/{name} is missing") for name in ("manifest.json", *FILES)},
    "feature of another version": (other_feature_version, "feature '.*' has version 2, this application computes"),
    "feature that nobody knows": (unknown_feature, "feature 'moon.phase' is unknown to this application"),
    "other scenario": (lambda files: changed(files, scenario="noise"), "of scenario 'noise', not 'air_quality'"),
    "golden rows that differ": (other_golden_rows, "64 of 64 rows are not reproduced"),
    "other version inside": (lambda files: changed(files, version="v7"), "says it is version v7"),
    "newer format": (lambda files: changed(files, format=2), "format 2 is not 1"),
    "model that is none": (lambda files: sealed(files, model_onnx=b"no model"), "model.onnx: "),
}


@pytest.mark.parametrize(("damage", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_package_is_refused_with_its_reason_and_the_old_one_serves_on(
    place: Place, damage: Callable[[Files], Files], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = deploy(place.blobs)
    assert place.serving.current().control.champion == old
    new = package_of(1)
    upload(place.blobs, damage(new), version_of(new))
    announce(place.blobs, version_of(new), quarantine=["broken sensor"])
    assert place.later() == old
    (problem,) = place.serving.problems.items()
    assert problem[0] == version_of(new)
    assert re.search(why, problem[1])
    loud = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert loud == [f"refused {version_of(new)}: {problem[1]}; {old} goes on serving"]
    assert place.serving.current().control.quarantine == {"broken sensor"}
    fresh = place.another()
    assert fresh.current().champion is None
    assert fresh.problems == dict([problem])


def test_a_good_model_after_a_broken_one_serves_and_the_problem_is_gone(place: Place) -> None:
    deploy(place.blobs)
    place.serving.current()
    upload(place.blobs, flip("model.onnx")(package_of(1)))
    announce(place.blobs, version_of(package_of(1)))
    place.later()
    assert place.serving.problems
    assert place.later() != version_of(package_of(2))
    assert deploy(place.blobs, 2) == place.later()
    assert not place.serving.problems


def test_the_mended_package_serves_once_it_is_announced_again(place: Place) -> None:
    upload(place.blobs, without("card.md")(package_of(1)))
    announce(place.blobs, version_of(package_of(1)))
    assert place.later() is None
    assert place.later() is None
    assert deploy(place.blobs, 1) == place.later()
    assert not place.serving.problems


def test_the_health_route_tells_who_serves_and_what_was_refused(place: Place) -> None:
    old = deploy(place.blobs)
    pipeline = assemble(Settings(), place.blobs, MemoryStream(), place.clock)
    assert pipeline.health()[1]["champion"] == old
    new = upload(place.blobs, without("card.md")(package_of(1)))
    announce(place.blobs, new)
    assert pipeline.health()[1]["refused"] == {}
    place.clock.s += REFRESH_S
    _, told = pipeline.health()
    assert (told["champion"], told["refused"]) == (old, {new: f"{new}/card.md is missing"})


@pytest.mark.parametrize(
    "raw", [b"", b"\xff\xfe", b"[]", b'{"champion": 7}', b'{"champion": "\xff"}', b'{"chmpion": "v1"}', b"{" * 5000]
)
def test_a_control_document_that_cannot_be_read_changes_nothing(place: Place, raw: bytes) -> None:
    old = deploy(place.blobs)
    assert place.later() == old
    place.blobs.write("models", "deployment.json", raw)
    assert place.later() == old
    assert "models/deployment.json: " in place.serving.problems["deployment"]
    announce(place.blobs, old)
    assert place.later() == old
    assert not place.serving.problems


def test_a_control_document_that_goes_missing_changes_nothing(place: Place) -> None:
    old = deploy(place.blobs)
    assert place.later() == old
    place.blobs.delete("models", "deployment.json")
    assert place.later() == old


def test_the_control_document_is_looked_at_only_every_so_often(place: Place) -> None:
    first, second = deploy(place.blobs), upload(place.blobs, package_of(1))
    assert place.serving.current().control.champion == first
    announce(place.blobs, second)
    for _ in range(99):
        place.clock.s += REFRESH_S / 100
        assert place.serving.current().control.champion == first
    assert place.blobs.asked == 1
    place.clock.s += REFRESH_S / 50
    assert place.serving.current().control.champion == second
    assert place.blobs.asked == 2
    model = place.serving.current().champion
    place.later()
    assert place.serving.current().champion is model, "what has not changed is not loaded again"


def test_a_model_that_is_withdrawn_answers_no_more(place: Place) -> None:
    deploy(place.blobs)
    assert place.later() is not None
    announce(place.blobs, None)
    assert place.later() is None
    assert (
        place.serving.current()(ScoreRequest(["a"], np.array([1]), lambda: np.zeros((1, 1), np.float32), unexplained))
        == []
    )
    with pytest.raises(ContractBroken, match="no model is deployed"):
        place.serving.current().forecast(np.zeros((1, len(FEATURIZER.features)), np.float32))


def unexplained(_: int) -> Inputs:
    raise AssertionError("nobody asked why")


def test_a_store_that_does_not_answer_is_asked_again_at_once(place: Place) -> None:
    old = deploy(place.blobs)
    assert place.later() == old
    new = upload(place.blobs, package_of(1))
    announce(place.blobs, new)
    place.blobs.down = "golden.npz"
    place.clock.s += REFRESH_S
    with pytest.raises(TransientFailure):
        place.serving.current()
    place.blobs.down = None
    assert place.serving.current().control.champion == new
    assert not place.serving.problems


def test_a_challenger_that_cannot_be_read_now_is_left_out_until_the_next_look(place: Place) -> None:
    new = upload(place.blobs, package_of(1))
    place.blobs.down = f"{new}/golden.npz"
    old = deploy(place.blobs, challenger=new, share=0.5, salt="s")
    answering = place.serving.current()
    assert (answering.control.champion, answering.control.challenger) == (old, None)
    assert list(place.serving.problems) == [new]
    place.blobs.down = None
    assert place.serving.current().control.challenger is None
    assert place.later() == old
    assert place.serving.current().control.challenger == new
    assert not place.serving.problems


def test_forecasts_are_the_models_own_within_the_limits_and_their_intervals(place: Place) -> None:
    deploy(place.blobs)
    matrix = FEATURIZER.matrix(*tiny_model.windows(50, 9))
    raw = tiny_model.loaded(package_of()).predict(matrix)
    (scored,) = place.serving.current()(ScoreRequest(["d"] * 50, np.arange(50), lambda: matrix, unexplained))
    np.testing.assert_array_equal(scored.numbers["value"], np.clip(raw, 0, 1000))
    below = raw < 50
    np.testing.assert_allclose(scored.numbers["lower"], np.clip(raw - np.where(below, 9, 20), 0, 1000), rtol=1e-6)
    np.testing.assert_allclose(scored.numbers["upper"], np.clip(raw + np.where(below, 10, 30), 0, 1000), rtol=1e-6)
    assert (scored.role, scored.model) == (0, version_of(package_of()))
    assert scored.served.all()


def test_a_challenger_answers_its_share_of_the_devices_and_every_forecast_is_served_once(place: Place) -> None:
    upload(place.blobs, package_of(1))
    deploy(place.blobs, challenger=version_of(package_of(1)), share=0.3, salt="s")
    devices = [f"d{number}" for number in range(400)]
    matrix = FEATURIZER.matrix(*tiny_model.windows(400, 9))
    champion, challenger = place.serving.current()(ScoreRequest(devices, np.arange(400), lambda: matrix, unexplained))
    assert (champion.served ^ challenger.served).all()
    assert 0.2 < challenger.served.mean() < 0.4
    assert challenger.served.tolist() == [chance("s", device) < 0.3 for device in devices]
    np.testing.assert_array_equal(
        challenger.numbers["value"], np.clip(tiny_model.loaded(package_of(1)).predict(matrix), 0, 1000)
    )


def test_a_broken_challenger_leaves_the_champion_alone(place: Place) -> None:
    bad = upload(place.blobs, flip("model.onnx")(package_of(1)))
    old = deploy(place.blobs, challenger=bad, share=1.0)
    answering = place.serving.current()
    assert (answering.control.champion, answering.control.challenger) == (old, None)
    assert list(place.serving.problems) == [bad]


def test_a_new_worker_goes_on_with_the_champion_of_before_when_the_new_one_is_broken(place: Place) -> None:
    old, bad = upload(place.blobs, package_of()), upload(place.blobs, flip("model.onnx")(package_of(1)))
    announce(place.blobs, bad, challenger=old)
    answering = place.serving.current()
    assert (answering.control.champion, answering.control.challenger) == (old, None)
    assert list(place.serving.problems) == [bad]


def test_a_worker_that_keeps_the_champion_of_before_does_not_ask_it_twice(place: Place) -> None:
    old = deploy(place.blobs)
    assert place.later() == old
    bad = upload(place.blobs, flip("model.onnx")(package_of(1)))
    announce(place.blobs, bad, challenger=old)
    assert place.later() == old
    assert place.serving.current().control.challenger is None


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_challenger_that_climbs_never_takes_a_broken_champions_place(place: Place, share: float) -> None:
    bad, candidate = upload(place.blobs, flip("model.onnx")(package_of())), upload(place.blobs, package_of(1))
    announce(place.blobs, bad, challenger=candidate, share=share, salt=candidate)
    assert place.serving.current().champion is None
    assert place.serving.current().challenger is None


def test_a_champion_that_becomes_the_challenger_is_not_loaded_again(place: Place) -> None:
    first, second = deploy(place.blobs), upload(place.blobs, package_of(1))
    one = place.serving.current().champion
    place.blobs.down = "model.onnx"
    announce(place.blobs, first, challenger=None)
    assert place.later() == first
    place.blobs.down = None
    announce(place.blobs, second, challenger=first)
    assert place.later() == second
    assert place.serving.current().challenger is one


def test_a_challenger_that_gives_no_number_fails_the_whole_answer(place: Place) -> None:
    upload(place.blobs, package_of(1))
    deploy(place.blobs, challenger=version_of(package_of(1)))
    answering = place.serving.current()
    manifest_of_challenger = tiny_model.loaded(package_of(1)).manifest

    class Nothing:
        manifest = manifest_of_challenger

        def predict(self, matrix: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> object:
            return np.full(len(matrix), np.nan, np.float32)

    sick = replace(answering, challenger=Nothing())  # type: ignore[arg-type]
    ask = ScoreRequest(["d"], np.array([1]), lambda: FEATURIZER.matrix(*tiny_model.windows(1, 9)), unexplained)
    with pytest.raises(ChallengerFails, match=version_of(package_of(1))):
        sick(ask)
    assert sick.alone().control.challenger is None
    assert len(sick.alone()(ask)) == 1


def test_many_threads_load_a_model_once(place: Place) -> None:
    deploy(place.blobs)
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(place.serving.current().champion)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert place.blobs.asked == 1


def test_packages_of_the_bench_are_what_they_say() -> None:
    files = package_of()
    manifest = msgspec.json.decode(files["manifest.json"])
    assert manifest["sha256"] == {name: hashlib.sha256(files[name]).hexdigest() for name in FILES}
    assert version_of(package_of(1)) != version_of(files)
