#!/usr/bin/env bash
# azure-storage-blob 12.27.1 (azure-core 1.41.0), run on 2026-12-01.
#
# An error answer whose body is XML without a <Message> ends in a TypeError ("unsupported operand type(s) for +=:
# 'NoneType' and 'str'") inside the client, while it puts its own error together, and not in an AzureError. The service
# itself always sends a Message; a proxy, a gateway or a firewall on the way may answer XML of its own. One would bet on
# HttpResponseError, which an empty body gives; whoever catches AzureError, as the documentation says, catches nothing.
#
# What to do: treat a TypeError from a call of the client as an answer that cannot be read.
#
# Source: observed by running this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check azure-storage-blob==12.27.1 azure-core==1.41.0
cat > "$folder/answers.py" <<'PY'
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from azure.core.exceptions import AzureError
from azure.storage.blob import BlobClient

ANSWERS = {
    "as the service answers": b"<?xml version='1.0'?><Error><Code>ServerBusy</Code><Message>later</Message></Error>",
    "XML without a Message": b"<?xml version='1.0'?><error><reason>busy</reason></error>",
    "no body": b"",
}


class Proxy(BaseHTTPRequestHandler):
    """Answers 400 with the body that the path asks for."""

    def do_GET(self):
        body = list(ANSWERS.values())[int(self.path.split("/")[-1].split("?")[0])]
        self.send_response(400)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep quiet."""


server = HTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=server.serve_forever, daemon=True).start()
seen: dict[str, str] = {}
for number, name in enumerate(ANSWERS):
    blob = BlobClient(f"http://127.0.0.1:{server.server_port}/account", "container", str(number))
    try:
        blob.download_blob()
    except Exception as error:
        seen[name] = f"{type(error).__name__}, an AzureError: {isinstance(error, AzureError)}: {str(error)[:60]!r}"
server.shutdown()
for name, what in seen.items():
    print(f"{name}: {what}")
kinds = [what.partition(",")[0] for what in seen.values()]
sys.exit(0 if kinds == ["HttpResponseError", "TypeError", "HttpResponseError"] else f"changed: {kinds}")
PY
"$folder/venv/bin/python" "$folder/answers.py"
