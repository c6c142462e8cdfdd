"""327 black-box cases (see tests/conformance): each is refused, or forwarded so that every parser reads it alike."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.proxykit import ROOT, free_port, proxy

CONFIGURATION = """
workers: 1
log: {level: warning}
listeners:
  - bind: 127.0.0.1:PORT
    timeouts: {request_head: 4s, request_body: 4s, idle: 4s, stream_idle: 4s}
    routes:
      - {match: {prefix: /}, cluster: app, timeout: 4s, upgrade: [websocket]}
clusters:
  - {name: app, connect_timeout: 4s, endpoints: [ORIGIN]}
"""
CASES = 327


def test_every_case_passes(tmp_path: Path) -> None:
    origin_port = free_port()
    report = tmp_path / "report.json"
    with proxy(tmp_path, CONFIGURATION.replace("ORIGIN", f"127.0.0.1:{origin_port}")) as running:
        command = [
            sys.executable, "smuggle.py", "--target", f"127.0.0.1:{running.port}", "--origin-port", str(origin_port),
            "--cases", "open", "--json", str(report),
        ]  # fmt: skip
        ran = subprocess.run(
            command, cwd=ROOT / "tests" / "conformance", capture_output=True, text=True, timeout=100, check=False
        )
        running.await_idle()
    assert f"{CASES} passed, 0 failed" in ran.stdout, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert json.loads(report.read_text())
