"""What every store of blobs must do: in memory, and Azure's client against Azurite."""

from __future__ import annotations

import gzip
import io
import random
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from azure.storage.blob import BlobServiceClient, ContentSettings

from shared.adapters.stores import azure_account
from shared.adapters.stores.azure_blobs import AzureBlobs
from shared.adapters.stores.azure_errors import brief
from shared.errors import ConfigError, StateConflict, TransientFailure
from shared.ports import Blobs
from tests.e2e.crash.crash_weather import Fate, Weather
from tests.kit import MemoryBlobs

ODD_NAMES = [
    "plain.csv",
    "folder/deep/er.csv",
    'a folder/it\'s "quoted" & 100% 🌫️/#1?.csv',
    "<script>alert(1)</script>.csv",
    "ends with dot.",
    "%2e%2e/%2F",
    "ü" * 200,
    "=cmd|' /C calc'!A0",
]


class Store:
    """One adapter, a container of its own, and a way to drop a blob with metadata as people do."""

    def __init__(self, blobs: Blobs, service: BlobServiceClient | None) -> None:
        self.blobs, self.service = blobs, service
        self.container = f"c{uuid.uuid4().hex[:20]}"
        if service is not None:
            service.create_container(self.container)

    def drop(self, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        if self.service is None:
            cast("MemoryBlobs", self.blobs).write(self.container, name, data, metadata)
        else:
            client = self.service.get_blob_client(self.container, name)
            client.upload_blob(data, overwrite=True, metadata=dict(metadata))


@pytest.fixture(params=["memory", pytest.param("azurite", marks=pytest.mark.emulator)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield Store(MemoryBlobs(), None)
        return
    connection = request.getfixturevalue("azurite")
    with BlobServiceClient.from_connection_string(connection) as service:
        yield Store(AzureBlobs.connect(connection, None), service)


def test_a_blob_is_read_as_it_was_written_and_can_be_replaced(store: Store) -> None:
    blobs, box = store.blobs, store.container
    assert blobs.read(box, "a") is None
    for data in (b"first", b"", b"\x00\xff" * 1000):
        blobs.write(box, "a", data)
        assert blobs.read(box, "a") == data


def test_only_the_first_create_succeeds(store: Store) -> None:
    blobs, box = store.blobs, store.container
    assert blobs.create(box, "a", b"mine")
    assert not blobs.create(box, "a", b"yours")
    assert not blobs.create(box, "a", b"mine")
    assert blobs.read(box, "a") == b"mine"
    blobs.delete(box, "a")
    assert blobs.create(box, "a", b"yours")


def test_a_replacement_needs_the_etag_of_what_is_there(store: Store) -> None:
    blobs, box = store.blobs, store.container
    first = blobs.replace(box, "a", b"1", None)
    with pytest.raises(StateConflict, match="was changed by somebody else"):
        blobs.replace(box, "a", b"x", None)
    second = blobs.replace(box, "a", b"2", first)
    assert second != first
    with pytest.raises(StateConflict):
        blobs.replace(box, "a", b"x", first)
    assert blobs.read(box, "a") == b"2"
    blobs.delete(box, "a")
    with pytest.raises(StateConflict):
        blobs.replace(box, "a", b"x", second)
    assert blobs.read(box, "a") is None
    found = blobs.info(box, "b")
    assert found is None
    blobs.replace(box, "b", b"3", None)
    found = blobs.info(box, "b")
    assert found is not None
    blobs.replace(box, "b", b"4", found.etag)


def test_reading_what_changed_gives_nothing_while_it_has_not(store: Store) -> None:
    blobs, box = store.blobs, store.container
    assert blobs.read_changed(box, "a", None) is None
    assert blobs.read_changed(box, "a", '"0x1"') is None
    blobs.write(box, "a", b"1")
    found = blobs.read_changed(box, "a", None)
    assert found is not None
    assert found[0] == b"1"
    assert blobs.read_changed(box, "a", found[1]) is None
    blobs.write(box, "a", b"1")
    again = blobs.read_changed(box, "a", found[1])
    assert again is not None
    assert again[1] != found[1]


def test_names_are_sorted_and_begin_with_the_prefix(store: Store) -> None:
    blobs, box = store.blobs, store.container
    assert blobs.names(box) == []
    for name in ("b/2", "b/10", "a", "B/1", "b", "c/1"):
        blobs.write(box, name, b"")
    assert blobs.names(box) == ["B/1", "a", "b", "b/10", "b/2", "c/1"]
    assert blobs.names(box, "b/") == ["b/10", "b/2"]
    assert blobs.names(box, "nothing") == []


def test_deleting_twice_is_no_error(store: Store) -> None:
    blobs, box = store.blobs, store.container
    blobs.write(box, "a", b"1")
    blobs.delete(box, "a")
    blobs.delete(box, "a")
    assert blobs.info(box, "a") is None
    assert blobs.names(box) == []


def test_info_tells_size_change_and_metadata(store: Store) -> None:
    store.drop("a", b"12345", {"zone": "Asia/Shanghai"})
    found = store.blobs.info(store.container, "a")
    assert found is not None
    assert (found.size, dict(found.metadata)) == (5, {"zone": "Asia/Shanghai"})
    assert found.modified_ms > 1_700_000_000_000
    store.drop("a", b"12345", {})
    again = store.blobs.info(store.container, "a")
    assert again is not None
    assert again.etag != found.etag
    assert not again.metadata


@pytest.mark.parametrize("name", ODD_NAMES)
def test_hostile_names_are_just_names(store: Store, name: str) -> None:
    blobs, box = store.blobs, store.container
    blobs.write(box, name, b"x")
    assert blobs.names(box) == [name]
    assert blobs.read(box, name) == b"x"
    assert not blobs.create(box, name, b"y")
    blobs.delete(box, name)
    assert blobs.names(box) == []


@pytest.mark.parametrize("size", [0, 1, azure_account.CHUNK_BYTES, 2 * azure_account.CHUNK_BYTES + 17])
def test_a_blob_is_read_as_a_stream_in_pieces(store: Store, size: int) -> None:
    blobs, box = store.blobs, store.container
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    blobs.write(box, "a", data)
    info = blobs.info(box, "a")
    assert info is not None
    with blobs.open(box, "a", info.etag) as stream:
        pieces = list(iter(lambda: stream.read(1_000_003), b""))
    assert b"".join(pieces) == data
    with blobs.open(box, "a", info.etag) as stream:
        assert stream.read() == data
    with blobs.open(box, "a", info.etag) as stream:
        assert io.BufferedReader(cast("Any", stream)).readline() == data


def test_a_stream_is_of_one_version(store: Store) -> None:
    blobs, box = store.blobs, store.container
    blobs.write(box, "a", b"1" * (2 * azure_account.CHUNK_BYTES))
    info = blobs.info(box, "a")
    assert info is not None
    with blobs.open(box, "a", info.etag) as stream:
        begun = stream.read(10)
        blobs.write(box, "a", b"2" * (2 * azure_account.CHUNK_BYTES))
        try:
            rest = stream.read()
        except StateConflict:
            rest = b""
    assert set(begun + rest) == {ord("1")}
    for name in ("a", "gone"):
        with pytest.raises(StateConflict, match=f"{name} no longer has ETag"), blobs.open(box, name, info.etag):
            pass


@contextmanager
def broken(azurite: str, fates: Sequence[Fate], **sizes: Any) -> Iterator[AzureBlobs]:
    """The store behind a line to which things happen, without the client's own patience."""
    port = urlsplit(re.findall("BlobEndpoint=([^;]+)", azurite)[0]).port or 0
    with Weather(lambda: port, told=iter(fates)) as weather:
        behind = azurite.replace(f":{port}/", f":{weather.port}/")
        with BlobServiceClient.from_connection_string(behind, retry_total=0, **sizes) as service:
            yield AzureBlobs(service)


def dropped(azurite: str, data: bytes) -> tuple[str, str]:
    """Container and ETag of a blob that holds some data."""
    with BlobServiceClient.from_connection_string(azurite) as service:
        store = Store(AzureBlobs(service), service)
        store.drop("a", data, {})
        info = store.blobs.info(store.container, "a")
        assert info is not None
        return store.container, info.etag


@pytest.mark.emulator
def test_a_read_goes_on_where_the_line_broke(azurite: str) -> None:
    data = random.Random(1).randbytes(1_000_000)
    box, etag = dropped(azurite, data)
    pieces = {"max_single_get_size": 100_000, "max_chunk_get_size": 100_000}
    cuts = [Fate("cut", bytes=size) for size in (50_000, 150_000, 320_000, 30_000, 200_000)]
    with broken(azurite, [*cuts, Fate("fair")], **pieces) as blobs, blobs.open(box, "a", etag) as stream:
        assert stream.read() == data
    with broken(azurite, [Fate("cut", bytes=500_000)] * 2 + [Fate("fair")]) as blobs:
        assert blobs.read(box, "a") == data


@pytest.mark.emulator
def test_a_line_that_breaks_again_and_again_is_a_transient_failure(azurite: str) -> None:
    box, etag = dropped(azurite, b"1" * 100_000)
    cuts = [Fate("cut", bytes=20_000)] * 20
    with broken(azurite, cuts) as blobs, pytest.raises(TransientFailure), blobs.open(box, "a", etag):
        pass
    with broken(azurite, cuts) as blobs, pytest.raises(TransientFailure, match="ServiceResponseError"):
        blobs.read(box, "a")


@pytest.mark.emulator
@pytest.mark.parametrize("labelled", [gzip.compress(bytes(range(256)) * 40, 0), b"plain,text\n" * 500])
def test_a_label_of_an_encoding_changes_no_byte_however_many_pieces_a_blob_has(azurite: str, labelled: bytes) -> None:
    small: dict[str, Any] = {"max_single_get_size": 1000, "max_chunk_get_size": 1000}
    with BlobServiceClient.from_connection_string(azurite, **small) as service:
        store = Store(AzureBlobs(service), service)
        label = ContentSettings(content_encoding="gzip")
        service.get_blob_client(store.container, "a").upload_blob(labelled, content_settings=label)
        info = store.blobs.info(store.container, "a")
        assert info is not None
        with store.blobs.open(store.container, "a", info.etag) as stream:
            assert stream.read() == labelled
        assert store.blobs.read(store.container, "a") == labelled


@pytest.mark.emulator
def test_a_container_that_is_missing_is_a_failure_and_no_empty_one(azurite: str) -> None:
    blobs = AzureBlobs.connect(azurite, None)
    for act in acts(blobs, "missing"):
        with pytest.raises(ConfigError, match=r"blob store: missing/.*: HTTP 404 ContainerNotFound: .*make it"):
            act()


def acts(blobs: AzureBlobs, box: str) -> list[Callable[[], object]]:
    """Whatever can be asked of a container."""
    return [
        lambda: blobs.names(box),
        lambda: blobs.listed(box),
        lambda: blobs.read(box, "a"),
        lambda: blobs.read_changed(box, "a", '"0x1"'),
        lambda: blobs.info(box, "a"),
        lambda: blobs.write(box, "a", b""),
        lambda: blobs.create(box, "a", b""),
        lambda: blobs.replace(box, "a", b"", None),
        lambda: blobs.replace(box, "a", b"", '"0x1"'),
        lambda: blobs.delete(box, "a"),
        lambda: blobs.open(box, "a", '"0x1"').__enter__(),
    ]


@pytest.mark.emulator
def test_a_key_that_is_not_the_accounts_is_an_error_to_mend_whatever_is_asked(azurite: str) -> None:
    key = re.sub("AccountKey=[^;]+", "AccountKey=c2VjcmV0LXNlY3JldA==", azurite)
    blobs = AzureBlobs.connect(key, None)
    for act in acts(blobs, "commits"):
        with pytest.raises(
            ConfigError, match=r"blob store: commits/.*: HTTP 403 AuthorizationFailure: the ident"
        ) as told:
            act()
        assert "c2VjcmV0" not in str(told.value)


@pytest.mark.emulator
def test_containers_that_are_missing_are_made_with_the_first_use(azurite: str) -> None:
    names = [f"c{uuid.uuid4().hex[:20]}" for _ in range(3)]
    with BlobServiceClient.from_connection_string(azurite) as service:
        service.create_container(names[0])
        service.get_blob_client(names[0], "kept").upload_blob(b"1")
        first, second = (AzureBlobs.connect(azurite, None, containers=names) for _ in range(2))
        assert {each.name for each in service.list_containers()} & set(names) == {names[0]}
        assert first.names(names[2]) == []
        assert {each.name for each in service.list_containers()} >= set(names)
        second.write(names[1], "a", b"2")
        assert (first.read(names[1], "a"), first.read(names[0], "kept")) == (b"2", b"1")


PROXY = "FromAProxy"  # answers XML of its own


def refusing(refused: Mapping[str, tuple[int, str]]) -> ThreadingHTTPServer:
    """A store that lists no container and answers the methods given with a status and a code."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, code = refused.get(self.command, (200, ""))
            body = b"<EnumerationResults><Containers/></EnumerationResults>"
            if status != 200:
                message = "" if code == PROXY else "<Message>no</Message>"
                body = f"<Error><Code>{code}</Code>{message}</Error>".encode() if code else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            if code:
                self.send_header("x-ms-error-code", code)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing on the screen."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@contextmanager
def answered(refused: Mapping[str, tuple[int, str]], containers: Sequence[str] = ()) -> Iterator[AzureBlobs]:
    server = refusing(refused)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/account"
    connection = f"AccountName=account;AccountKey=c2VjcmV0;BlobEndpoint={address}"
    try:
        with BlobServiceClient.from_connection_string(connection, retry_total=0) as service:
            yield AzureBlobs(service, containers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_error_of_a_proxy_that_the_client_cannot_read_is_a_failure_for_now() -> None:
    with answered({"GET": (400, PROXY), "PUT": (400, PROXY)}) as blobs:
        with pytest.raises(TransientFailure, match="commits/a: an answer that is not the store's"):
            blobs.write("commits", "a", b"")
        with pytest.raises(TransientFailure, match="commits/a: an answer that is not the store's"):
            blobs.read("commits", "a")


@pytest.mark.emulator
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InvalidUri", ConfigError),
        (401, "NoAuthenticationInformation", ConfigError),
        (403, "AuthorizationPermissionMismatch", ConfigError),
        (403, "", ConfigError),
        (404, "ContainerNotFound", ConfigError),
        (404, "AccountNotFound", ConfigError),
        (409, "FeatureNotSupportedForAccount", ConfigError),
        (409, "ContainerBeingDeleted", TransientFailure),
        (409, "AccountBeingCreated", TransientFailure),
        (408, "OperationTimedOut", TransientFailure),
        (412, "LeaseIdMissing", TransientFailure),
        (429, "ServerBusy", TransientFailure),
        (500, "InternalError", TransientFailure),
        (503, "ServerBusy", TransientFailure),
    ],
)
def test_an_answer_says_its_status_and_code_and_whether_waiting_helps(
    status: int, code: str, kind: type[Exception]
) -> None:
    with answered({"PUT": (status, code)}) as blobs:
        for act in (lambda: blobs.write("commits", "a", b""), lambda: blobs.create("commits", "a", b"")):
            with pytest.raises(kind, match=f"blob store: commits/a: HTTP {status} ?{code}"):
                act()
            with pytest.raises(kind) as told:
                act()
            assert type(told.value) is kind
            assert brief(told.value.__cause__ or told.value) == f"HTTP {status} {code}".rstrip()


@pytest.mark.emulator
def test_containers_that_may_not_be_made_are_named_and_those_that_may_not_be_listed_are_left() -> None:
    with (
        answered({"PUT": (403, "AuthorizationPermissionMismatch")}, ["ledger", "commits"]) as blobs,
        pytest.raises(ConfigError, match="containers commits, ledger are missing and not made: HTTP 403 Auth"),
    ):
        blobs.read("commits", "a")
    with (
        answered({"GET": (503, "ServerBusy")}, ["commits"]) as blobs,
        pytest.raises(TransientFailure, match="blob store: HTTP 503 ServerBusy"),
    ):
        blobs.write("commits", "a", b"")
    with (
        answered({"GET": (403, "AuthorizationPermissionMismatch")}, ["commits"]) as blobs,
        pytest.raises(ConfigError, match="blob store: commits/a: HTTP 403"),
    ):
        blobs.read("commits", "a")


def test_a_store_that_does_not_answer_is_a_transient_failure_that_shows_no_key() -> None:
    key = "c2VjcmV0LXNlY3JldA=="
    address = "http://127.0.0.1:1/devstoreaccount1"
    connection = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint={address};"
    with BlobServiceClient.from_connection_string(connection, retry_total=0) as service:
        blobs = AzureBlobs(service)
        with pytest.raises(TransientFailure, match="blob store: commits/a: ServiceRequestError") as told:
            blobs.read("commits", "a")
        with pytest.raises(TransientFailure), blobs.open("commits", "a", '"0x1"'):
            pass
    assert "secret" not in str(told.value)
    assert key not in str(told.value)


def test_the_shorthand_for_local_development_is_understood_and_nonsense_is_a_configuration_error() -> None:
    local = AzureBlobs.connect("UseDevelopmentStorage=true;", None)._service
    assert local.url == "http://127.0.0.1:10000/devstoreaccount1/"
    local.close()
    with pytest.raises(ConfigError, match="BLOBS"):
        AzureBlobs.connect("nonsense", None)


def test_a_listing_says_of_every_blob_what_asking_for_it_says(store: Store) -> None:
    assert store.blobs.listed(store.container) == []
    for name in ODD_NAMES:
        store.drop(name, name.encode(), {"zone": "Asia/Shanghai"} if "a" in name else {})
    found = store.blobs.listed(store.container)
    assert [name for name, _ in found] == sorted(ODD_NAMES)
    assert store.blobs.listed(store.container, "plain") == [found[sorted(ODD_NAMES).index("plain.csv")]]
    assert found == [(name, store.blobs.info(store.container, name)) for name in sorted(ODD_NAMES)]
