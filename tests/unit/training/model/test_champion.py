"""The deployed model beside the new one, the historic profile, and the words of the command line."""

from __future__ import annotations

import numpy as np
import pytest

from shared.core.model.manifest import Damped, Interval, Manifest, decode_manifest, encode_manifest
from shared.core.scenario.cadence import HOURLY
from shared.core.task.tasks import task_of
from shared.errors import ConfigError, ContractBroken
from tests.kit import MemoryBlobs
from tests.kit.data.sensor_history import air_quality
from training.__main__ import options_of, parser
from training.calibrate import history
from training.model import champion

MANIFEST = Manifest(
    version="v1", scenario="s", created="2026-11-20T10:15:00Z", run_id="", dataset="lake@1", code_version="",
    training_start="", training_end="2017-02-28T15:00:00Z", rows=1, features=[],
    interval=Interval(nominal=0.9, edges=[], lower=[-1.0], upper=[1.0]),
    damped=Damped(intercept=0, latest=0, mean_24=0), metrics={}, sha256={}, size_bytes=1, latency_ms=1.0,
)  # fmt: skip
AZURITE = {"BLOBS": "UseDevelopmentStorage=true"}
GOOD = ["--scenario", "air_quality", "--out", "model"]


def changed(**changes: object) -> Manifest:
    import msgspec

    return msgspec.structs.replace(MANIFEST, **changes)


def test_an_older_package_tells_the_end_of_its_training_in_words() -> None:
    assert champion.trained_until(changed(trained_until=5), HOURLY) == 5
    assert champion.trained_until(MANIFEST, HOURLY) == int(np.datetime64("2017-02-28T15", "h").astype(int))
    with pytest.raises(ContractBroken, match="training_end ''"):
        champion.trained_until(changed(training_end=""), HOURLY)


def test_a_manifest_of_before_reads_as_one_that_knows_neither_content_nor_end() -> None:
    raw = encode_manifest(MANIFEST).decode()
    lines = [line for line in raw.splitlines() if "content" not in line and "trained_until" not in line]
    found = decode_manifest("\n".join(lines).replace('"latency_ms": 1.0,', '"latency_ms": 1.0').encode())
    assert (found.content, found.trained_until) == ("", -1)
    assert decode_manifest(encode_manifest(changed(trained_until=7))).trained_until == 7


@pytest.mark.parametrize("version", ["../v1", "", "a/b", "x" * 65])
def test_a_name_that_is_no_version_is_not_looked_for(version: str) -> None:
    with pytest.raises(ConfigError, match="--champion"):
        champion.load(MemoryBlobs(), version, (), HOURLY)


def test_the_name_of_a_historic_profile_sorts_by_time() -> None:
    assert history.blob_of(MANIFEST) == "history/20261120T101500Z-v1.json"


@pytest.mark.parametrize(
    ("words", "environment", "text"),
    [
        (["--lake", "12"], AZURITE, "--lake: '12' is not of the form lake@VERSION"),
        (["--lake", "lake@-1"], AZURITE, "--lake: 'lake@-1'"),
        (["--lake", "lake@1"], {}, "BLOBS"),
        (["--lake", "lake@1", "--publish"], AZURITE, "--publish: needs --job"),
        (["--readings", "x", "--publish", "--job", "j"], {}, "BLOBS"),
        (["--readings", "x", "--champion", "a/b"], AZURITE, "--champion: 'a/b'"),
        (["--readings", "x", "--job", "a/b"], {}, "--job: 'a/b'"),
    ],
)
def test_a_wrong_command_says_what_is_wrong(words: list[str], environment: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        options_of(parser().parse_args([*GOOD, *words]), environment)


def test_a_command_takes_files_or_the_lake_not_both(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--readings", "x", "--lake", "lake@1"], []):
        with pytest.raises(SystemExit):
            parser().parse_args([*GOOD, *words])
    assert "not allowed with argument" in capsys.readouterr().err


def test_the_lake_is_where_the_app_has_it_or_in_a_folder() -> None:
    words = [*GOOD, "--lake", "lake@12"]
    found = options_of(parser().parse_args(words), AZURITE).lake
    assert found is not None
    assert (found.version, found.uri, str(found)) == (12, "az://lake", "lake@12")
    assert found.options()["azure_storage_account_name"] == "devstoreaccount1"
    local = options_of(parser().parse_args([*words, "--lake-uri", "/data/lake"]), {}).lake
    assert local is not None
    assert (local.uri, dict(local.options())) == ("/data/lake", {})


def test_a_feature_that_is_always_missing_has_no_mean() -> None:
    scenario = air_quality()
    from shared.core.forecast.features.featurizer import Featurizer
    from training.model.hourly import rows as data

    featurizer = Featurizer(scenario)
    rows = data.from_windows(task_of(scenario), [])
    width = len(featurizer.features)
    matrix = np.full((4, width), np.nan, np.float32)
    filled = data.TrainingSet(
        features=rows.features, matrix=matrix, target=np.array([1, 2, 3, 4], np.float32), as_of=np.arange(4),
        device=np.zeros(4, np.int32), devices=("d",), latest=matrix[:, 0], mean_24=matrix[:, 0],
    )  # fmt: skip
    row = history.profile(task_of(scenario), MANIFEST, filled)
    assert (row["temp.latest/mean"], row["temp.latest/missing"]) == (None, 1.0)
    assert (row["target.pm25/mean"], row["target.pm25/missing"]) == (2.5, 0.0)
