"""What a performance leaves behind, entry by entry, in the order in which it happened.

A phase that is to be killed writes every entry to a file at once: what is there is what its process has lived to see.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any

__all__ = ["Recording", "labels_of"]


class Recording:
    """Entries of one scenario, over all its phases; safe to add to from any thread.

    Attributes:
        entries: Each with its ``kind``, its ``phase`` and its own fields.
        phase: Number of the phase that entries belong to from now on.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._file = file.open("a", encoding="utf-8", buffering=1) if file else None
        self.entries: list[dict[str, Any]] = []
        self.phase = 0

    def add(self, kind: str, **fields: Any) -> None:
        """Add an entry; it is in the file when this returns."""
        entry = {"kind": kind, "phase": self.phase, **fields}
        with self._lock:
            self.entries.append(entry)
            if self._file:
                self._file.write(json.dumps(entry) + "\n")

    def written_to(self, file: Path) -> Recording:
        """Return a recording of the same phase that is written to a file, and knows the same labels."""
        other = Recording(file)
        other.entries += self.of("label")
        other.phase = self.phase
        return other

    def extend(self, file: Path) -> None:
        """Take over what another process has written."""
        self.entries += [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the entries of one kind."""
        with self._lock:
            return [entry for entry in self.entries if entry["kind"] == kind]


def labels_of(recording: Recording) -> dict[str, str]:
    """Name every run: those that were started by their label, children by their workflow."""
    labels = {entry["id"]: entry["label"] for entry in recording.of("label")}
    children: Counter[str] = Counter()
    for entry in recording.of("event"):
        if entry["run"] not in labels:
            children[entry["workflow"]] += 1
            number = children[entry["workflow"]]
            labels[entry["run"]] = f"child:{entry['workflow']}" + (f"#{number}" if number > 1 else "")
    return labels
