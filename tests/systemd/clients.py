"""Load from inside a machine: `python -m tests.systemd.clients PORT` until its input ends, then the tally as JSON."""

from __future__ import annotations

import json
import sys

from tests.load import Background

if __name__ == "__main__":
    with Background(int(sys.argv[1]), clients=8, pause_s=0.005) as load:
        print("started", flush=True)
        sys.stdin.read()
    tally = load.tally
    numbers = {"ok": tally.with_status(200), "all": tally.total, "broken": tally.broken, "refused": tally.refused}
    print(json.dumps(numbers))
