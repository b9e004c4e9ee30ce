"""The gate's evidence as people read it: JSON and a page, among the reports and with the run that made the model."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import msgspec

from shared.app.backoff import Backoff
from shared.app.ledger_store import Ledger
from shared.app.reports.gate import gate_report
from shared.app.score.referenced import read_referenced
from shared.core.gate.verdict import Verdict
from shared.core.ledger import find
from shared.core.retrain.history import GATE
from shared.errors import PipelineError
from shared.ports import Blobs, Registry

log = logging.getLogger(__name__)
REPORTS = "reports"
FILES = ("verdict.json", "report.html")
COPIED = "copied"


@dataclass(frozen=True, slots=True)
class EvidencePacks:
    """Evidence packs in the container "reports", and copies of them in the registry.

    Args:
        blobs: Where reports stand.
        ledger: Says which packs there are, and which are copied.
        registry: Keeps the copies.
        backoff: When to try again what it refused.
    """

    blobs: Blobs
    ledger: Ledger
    registry: Registry
    backoff: Backoff

    def write(self, job: str, verdict: Verdict) -> str:
        """Write a job's pack; returns its folder, which no other verdict has: two workers may judge at once."""
        body = msgspec.json.format(msgspec.json.encode(verdict), indent=2)
        folder = f"gate/{job}/{hashlib.sha256(body).hexdigest()[:8]}"
        for name, data in zip(FILES, (body, _page(verdict)), strict=True):
            self.blobs.write(REPORTS, f"{folder}/{name}", data)
        return folder

    def copy(self) -> None:
        """Copy every pack that is not copied yet; a registry that is away gets it later and stops nothing."""
        entries = self.ledger.entries()
        for entry in entries:
            key = f"{GATE}/{entry.position}"
            folder, run_id = str(entry.data.get("evidence", "")), str(entry.data.get("run_id", ""))
            done = entry.kind != GATE or not folder or find(entries, COPIED, key) is not None
            if done or not self.backoff.due(folder):
                continue
            try:
                found = {name: read_referenced(self.blobs, REPORTS, f"{folder}/{name}", bytes) for name in FILES}
                self.registry.keep(run_id, folder, found)
            except PipelineError as error:
                log.warning("the registry has no copy of %s yet: %s", folder, error)
                self.backoff.failed(folder, error)
                continue
            self.ledger.append(COPIED, key, {"about": entry.data["version"], "report": folder})


def _page(verdict: Verdict) -> bytes:
    """The verdict as a page; one that cannot be drawn must not hold the verdict up."""
    try:
        return gate_report(verdict).encode()
    except Exception:
        log.exception("the page of the verdict on %s cannot be drawn", verdict.facts.challenger.version)
        return b"<p>This page could not be drawn; verdict.json holds the verdict.</p>"
