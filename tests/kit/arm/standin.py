"""A stand-in for the part of the Azure Resource Manager API that azure-ai-ml speaks for jobs, over HTTPS.

Written from the REST reference of Machine Learning: workspaces / jobs, components, environments, code versions. It is
our server behind the real client; it proves what the client sends and how its answers are taken, not what Azure does.
"""

from __future__ import annotations

import datetime
import json
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SUBSCRIPTION, GROUP, WORKSPACE = "11111111-2222-3333-4444-555555555555", "rg-air", "mlw-air"
PLACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}"
    f"/providers/Microsoft.MachineLearningServices/workspaces/{WORKSPACE}"
)
BEARER = "eyJ0eXAi.c3RhbmQtaW4.c2lnbmF0dXJl"
VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")
COMMAND = "python -m training --scenario ${{inputs.scenario}}"


@dataclass(frozen=True)
class Request:
    """What came: method, path below the workspace, api-version, JSON body."""

    method: str
    path: str
    version: str
    body: Any


@dataclass
class Arm:
    """A workspace as its resource manager sees it.

    Args:
        url: Address, with a slash at its end.
        authority: File with the certificate that signed the server's.
    """

    url: str = ""
    authority: str = ""
    requests: list[Request] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    """Given first, one a request."""

    def register(self, name: str, version: str) -> None:
        """A component as `make register` leaves it."""
        spec = {
            "name": name,
            "version": version,
            "type": "command",
            "command": COMMAND,
            "code": f"azureml:{PLACE}/codes/c0de/versions/1",
            "environment": f"azureml:{PLACE}/environments/{name}/versions/{version}",
            "inputs": {
                "scenario": {"type": "string"},
                "dataset": {"type": "string"},
                "champion": {"type": "string", "default": "none"},
                "job": {"type": "string"},
            },
            "is_deterministic": "False",
        }
        properties = {"isAnonymous": False, "isArchived": False, "componentSpec": spec}
        self._keep(f"/components/{name}/versions/{version}", properties)

    def job(self, name: str) -> dict[str, Any]:
        """What was submitted."""
        found: dict[str, Any] = self.resources[f"/jobs/{name}"]["properties"]
        return found

    def sent(self, method: str) -> list[Request]:
        """Requests of one method."""
        return [request for request in self.requests if request.method == method]

    def answer(self, method: str, target: str, headers: Any, raw: bytes) -> tuple[int, dict[str, str], Any]:
        """One request's answer."""
        parts = urlsplit(target)
        version = parse_qs(parts.query).get("api-version", [""])[0]
        body = json.loads(raw) if raw else None
        self._check(parts.path, version, headers, method, body)
        path = parts.path.removeprefix(PLACE)
        self.requests.append(Request(method, path, version, body))
        if self.answers:
            return self.answers.pop(0)
        return getattr(self, f"_{method.lower()}")(path, body)  # type: ignore[no-any-return]

    def _check(self, path: str, version: str, headers: Any, method: str, body: Any) -> None:
        if not path.startswith(f"{PLACE}/"):
            self.problems.append(f"path {path}")
        if not VERSION.fullmatch(version):
            self.problems.append(f"api-version {version!r}")
        if headers["Authorization"] != f"Bearer {BEARER}":
            self.problems.append("authorization")
        if method == "PUT" and (set(body) - {"properties", "tags"} or headers["Content-Type"] != "application/json"):
            self.problems.append(f"body {sorted(body)}")

    def _get(self, path: str, _body: Any) -> tuple[int, dict[str, str], Any]:
        found = self.resources.get(path)
        if found is None:
            return 404, {}, error("UserError", f"{path.rpartition('/')[2]} was not found")
        answer = json.loads(json.dumps(found))
        if found["properties"].get("status") == "CancelRequested":
            found["properties"]["status"] = "Canceled"
        return 200, {}, answer

    def _put(self, path: str, body: Any) -> tuple[int, dict[str, str], Any]:
        if path in self.resources:
            return 400, {}, error("UserError", "A job is immutable but for its tags")
        properties = body["properties"]
        if path.startswith("/jobs/"):
            properties = {**properties, "status": "NotStarted"}
        return 201, {}, self._keep(path, properties)

    def _post(self, path: str, _body: Any) -> tuple[int, dict[str, str], Any]:
        job = self.resources.get(path.removesuffix("/cancel"))
        if job is None:
            return 404, {}, error("UserError", "the job was not found")
        job["properties"]["status"] = "CancelRequested"
        return 202, {"Location": f"{self.url}{PLACE[1:]}/operations/1?api-version=2023-04-01"}, None

    def _keep(self, path: str, properties: Any) -> dict[str, Any]:
        made = {"id": f"{PLACE}{path}", "name": path.rpartition("/")[2], "type": "any", "properties": properties}
        self.resources[path] = made
        return made


def error(code: str, message: str) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"code": code, "message": message}}


def authority(folder: Path) -> tuple[Path, Path]:
    """Files of a certificate authority made now, and of the certificate and key of localhost that it signed."""
    now = datetime.datetime.now(datetime.timezone.utc)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("test authority", "localhost")]
    public = [key.public_key() for key in keys]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(public[0])
    extensions: list[list[tuple[x509.ExtensionType, bool]]] = [
        [(x509.BasicConstraints(ca=True, path_length=None), True), (_usage("key_cert_sign"), True)],
        [
            (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False),
            (_usage("digital_signature"), True),
            (issuer, False),
        ],
    ]
    made = []
    for name, key, found in zip(names, public, extensions, strict=True):
        builder = (
            x509.CertificateBuilder(names[0], name, key, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in [*found, (x509.SubjectKeyIdentifier.from_public_key(key), False)]:
            builder = builder.add_extension(extension, critical=critical)
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    root, server = folder / "authority.pem", folder / "localhost.pem"
    root.write_bytes(made[0])
    server.write_bytes(keys[1].private_bytes(*plain) + made[1])
    return root, server


def _usage(*wanted: str) -> x509.KeyUsage:
    """Python 3.13 checks certificates strictly: an authority has to say that it signs, and keys have to be named."""
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in wanted for name in names})


@contextmanager
def serving(folder: Path, kind: type[Arm] = Arm) -> Iterator[Arm]:
    """The stand-in, up while the block runs; `kind` may know more than jobs."""
    root, certificate = authority(folder)
    arm = kind(authority=str(root))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _go(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"] or 0))
            status, headers, body = arm.answer(self.command, self.path, self.headers, raw)
            out = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers, "Content-Length": len(out)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(out)

        do_GET = do_PUT = do_POST = do_DELETE = _go  # noqa: N815 - the names that http.server wants

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("localhost", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    arm.url = f"https://localhost:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield arm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
