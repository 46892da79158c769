"""One measurement in its own process: ``python -m benchmarks.child CONTENDER WORKLOAD OPTIONS`` prints JSON.

Needs the standard library alone until the contender is imported, since peers run it in environments of their own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

__all__ = ["main"]


def main(contender: str, workload: str, options: str) -> None:
    """Measure, and print the figures as the last line."""
    if contender in {"perdure", "raw"}:
        measure = getattr(importlib.import_module(f"benchmarks.workloads.{workload}"), contender)
    else:
        measure = getattr(importlib.import_module(f"benchmarks.peers.{contender}_peer"), workload)
    figures = measure(**json.loads(options))
    print(json.dumps(figures), flush=True)
    sys.stderr.flush()
    os._exit(0)  # some peers leave threads behind that would keep the process


if __name__ == "__main__":
    main(*sys.argv[1:])
