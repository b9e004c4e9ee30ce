"""The lake on Azurite: appends, transactions, old versions, merging, damage, and what other tools read."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from shared.adapters.lake.delta.storage_options import storage_options
from shared.adapters.lake.delta.tables import DeltaTables
from shared.adapters.lake.delta_lake import DeltaLake
from shared.adapters.lake.schema import COMMITS, READINGS, TABLES
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.app.lake.compaction import Compaction, rebuild
from shared.errors import ConfigError, ContractBroken, StateConflict, TransientFailure
from tests import ROOT
from tests.flow.lake.test_lake import busy, keys
from tests.kit import SCENARIO, TASK, Bench, picture
from training.model.hourly import lake as training_lake

DAY_MS = 86_400_000
# what a file's statistics must not hide: every kind of column
WHERE: list[tuple[str, str, Callable[[pd.DataFrame], int]]] = [
    ("readings", "device_id = 'a'", lambda rows: int((rows["device_id"] == "a").sum())),
    ("readings", "pm > 20", lambda rows: int((rows["pm"] > 20).sum())),
    (
        "readings",
        "timestamp >= '2017-11-30T20:00:00Z'",
        lambda rows: int((rows["timestamp"] >= "2017-11-30T20Z").sum()),
    ),
    ("readings", "rain is null", lambda rows: int(rows["rain"].isna().sum())),
    ("predictions", "served", lambda rows: int(rows["served"].sum())),
    ("predictions", "model_version = 'v2'", lambda rows: int((rows["model_version"] == "v2").sum())),
    ("outcomes", "truth > 5", lambda rows: int((rows["truth"] > 5).sum())),
    ("commits", "readings = 10", len),
]
GUIDE = ROOT / "docs" / "lake.md"


def frame_of(dataset: Any) -> pd.DataFrame:
    frame: pd.DataFrame = dataset.to_table().to_pandas()
    return frame


@pytest.fixture
def place(azurite: str) -> tuple[DeltaLake, AzureBlobs, str]:
    """A lake of its own in Azurite, the store behind it, and its folder there."""
    folder = f"test-{uuid.uuid4().hex[:8]}"
    lake = DeltaLake(TASK, f"az://lake/{folder}", storage_options(azurite, None))
    return lake, AzureBlobs.connect(azurite, None), folder


def compact(bench: Bench, lake: DeltaLake, **rules: Any) -> dict[str, int]:
    return Compaction(task=TASK, blobs=bench.blobs, lake=lake, clock=bench.clock, **rules).run()


def test_what_is_appended_twice_by_two_at_once_stands_there_once(place: tuple[DeltaLake, AzureBlobs, str]) -> None:
    lake, _, _ = place
    bench, lost = busy(Bench(), 20), []

    def go() -> None:
        mine = DeltaLake(TASK, lake.delta.uri, lake.delta.options)
        try:
            compact(bench, mine, chunk_commits=1)
        except StateConflict as error:
            lost.append(error)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lost) < 2
    assert compact(bench, lake)["commits"] == 0
    for table in TABLES:
        assert Counter(keys(lake, table)).most_common(1)[0][1] == 1
    assert len(keys(lake, COMMITS)) == 4
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())


def test_an_old_version_stays_readable_after_merging_until_it_is_vacuumed(
    place: tuple[DeltaLake, AzureBlobs, str],
) -> None:
    lake, _, _ = place
    bench = busy(Bench(), 30)
    compact(bench, lake, chunk_commits=1)  # merges at once: both days are closed
    version = lake.version()
    options = lake.delta.options
    assert version is not None
    before, _ = training_lake.history(SCENARIO, lake.delta.uri, options, 2)
    newest, count = training_lake.history(SCENARIO, lake.delta.uri, options, version)
    assert count == 60
    assert {name: len(hours.values) for name, hours in newest.items()} == {"a": 30, "b": 30}
    assert {name: len(hours.values) for name, hours in before.items()} == {"a": 10, "b": 10}
    bench.clock.ms += DAY_MS
    assert compact(bench, lake, retain_h=0, keep=lambda: [2])["vacuumed"] > 0
    again, _ = training_lake.history(SCENARIO, lake.delta.uri, options, 2)
    assert again["a"].values.tobytes() == before["a"].values.tobytes()
    with pytest.raises(ContractBroken, match=f"lake readings@{version - 3}.*parquet"):
        training_lake.history(SCENARIO, lake.delta.uri, options, version - 3)
    assert picture(rebuild(lake, TASK, 0)) == picture(bench.worker().recovered())


@pytest.mark.parametrize("how", ["gone", "garbage", "truncated", "one bit", "log entry garbage", "log entry gone"])
def test_a_damaged_lake_is_an_error_that_names_what(place: tuple[DeltaLake, AzureBlobs, str], how: str) -> None:
    lake, blobs, folder = place
    bench = busy(Bench(), 15)
    bench.clock.ms = 0  # no day is closed: nothing is merged
    compact(bench, lake, chunk_commits=1)
    name = next(name for name in blobs.names("lake", f"{folder}/{READINGS}/") if name.endswith(".parquet"))
    if how.startswith("log"):
        name = f"{folder}/{READINGS}/_delta_log/{1:020d}.json"
    raw = blobs.read("lake", name) or b""
    damaged = {"garbage": b"PAR1 what", "truncated": raw[:-40], "log entry garbage": b"{no"}
    damaged["one bit"] = raw[:50] + bytes([raw[50] ^ 1]) + raw[51:]
    if how.endswith("gone"):
        blobs.delete("lake", name)
    else:
        blobs.write("lake", name, damaged[how])
    wanted = f"lake {READINGS}" if how.startswith("log") else name.rsplit("/", 1)[1]
    fresh = DeltaLake(TASK, lake.delta.uri, lake.delta.options)
    opened = None
    with pytest.raises(ContractBroken, match=re.escape(wanted)):
        opened = rebuild(fresh, TASK, 0)
    assert opened is None
    blobs.write("lake", name, raw)
    assert rebuild(fresh, TASK, 0).next == 3


def test_a_store_that_does_not_answer_is_a_transient_failure(azurite: str) -> None:
    silent = {**storage_options(azurite, None)(), "azure_storage_endpoint": "http://127.0.0.1:9/devstoreaccount1"}
    tables = DeltaTables("az://lake/nowhere", lambda: {**silent, "max_retries": "0"})
    with pytest.raises(TransientFailure, match="lake readings: OSError"):
        tables.opened(READINGS)


@pytest.mark.parametrize(
    ("uri", "key", "told"),
    [
        ("az://nowhere/folder", None, "lake readings: HTTP 404 ContainerNotFound: there is no such container"),
        ("az://lake/folder", "c2VjcmV0LXNlY3JldA==", "lake readings: HTTP 403 AuthorizationFailure: the identity may"),
    ],
)
def test_a_store_that_refuses_is_an_error_to_mend(azurite: str, uri: str, key: str | None, told: str) -> None:
    options = dict(storage_options(azurite, None)())
    tables = DeltaTables(uri, lambda: {**options, **({"azure_storage_account_key": key} if key else {})})
    with pytest.raises(ConfigError, match=told) as error:
        tables.opened(READINGS)
    assert (key or "Bearer") not in str(error.value)


def test_connections_are_given_up_before_azurite_hangs_up(azurite: str) -> None:
    """Azurite closes idle connections after 5 s; deltalake reads the option: one that it cannot read is an error."""
    options = storage_options(azurite, None)()
    assert options["pool_idle_timeout"] == "3s"
    with pytest.raises(OSError, match="as Duration"):
        DeltaTable("az://lake/none", storage_options={**options, "pool_idle_timeout": "3 bananas"})
    with pytest.raises(TableNotFoundError):
        DeltaTable("az://lake/none", storage_options=dict(options))


def test_storage_options_know_the_forms_of_a_connection_string() -> None:
    assert storage_options("UseDevelopmentStorage=true", None)()["azure_storage_endpoint"].endswith(
        ":10000/devstoreaccount1"
    )
    cloud = storage_options(
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=a2V5PT0=;EndpointSuffix=s.net", None
    )()
    assert cloud == {
        "azure_storage_account_name": "x",
        "azure_storage_account_key": "a2V5PT0=",
        "azure_storage_endpoint": "https://x.blob.s.net",
    }
    signed = storage_options("BlobEndpoint=https://y.blob.s.net/;SharedAccessSignature=sv=1&sig=z", None)()
    assert signed["azure_storage_account_name"] == "y"
    assert signed["azure_storage_sas_key"] == "sv=1&sig=z"
    with pytest.raises(ConfigError, match="BLOBS: needs AccountName"):
        storage_options("AccountName=x", None)


def test_the_guide_s_snippets_run_in_an_empty_folder_without_our_code(
    place: tuple[DeltaLake, AzureBlobs, str], azurite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, _, _ = place
    compact(busy(Bench(), 30), lake)
    names: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    code = "\n".join(blocks).replace("az://lake/readings", f"{lake.delta.uri}/{READINGS}").replace("pm25", "pm")
    monkeypatch.setenv("AZURITE_BLOB_STORAGE_URL", azurite.split("BlobEndpoint=")[1].split("/devstore")[0])
    exec(compile(code, str(GUIDE), "exec"), names)  # noqa: S102 - our own guide
    monkeypatch.delenv("PYTHONPATH", raising=False)
    ended = f"{code}\nimport os, sys\nprint(len(readings), 'shared' in sys.modules, flush=True)\nos._exit(0)"
    alone = subprocess.run([sys.executable, "-c", ended], cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert alone.stdout == "60 False\n", alone.stderr
    frame: pd.DataFrame = names["readings"]
    assert len(frame) == 60
    connected, dataset = names["connected"], {}
    for table in TABLES:
        dataset[table] = DeltaTable(f"{lake.delta.uri}/{table}", storage_options=names["options"]).to_pyarrow_dataset()
        connected.register(f"now_{table}", dataset[table])
    for table, where, count in WHERE:
        found = connected.execute(f"select count(*) from now_{table} where {where}").fetchone()  # noqa: S608 - ours
        assert found == (count(frame_of(dataset[table])),), where
    daily = {str(day): mean for day, mean in names["daily"]}
    assert daily == pytest.approx({str(day): part["pm"].mean() for day, part in frame.groupby("date")})


def test_the_tables_need_nothing_that_old_readers_lack(place: tuple[DeltaLake, AzureBlobs, str]) -> None:
    lake, _, _ = place
    compact(busy(Bench(), 10), lake)
    for table in TABLES:
        found = DeltaTable(f"{lake.delta.uri}/{table}", storage_options=dict(lake.delta.options()))
        protocol = found.protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
        whole = found.to_pyarrow_table()
        assert len(whole) == len(keys(lake, table))
