"""The engine under a scheduler of one thread: any order of events that threads could have, from a seed.

`History` runs one; ``python -m perdure.testing.simulator`` runs many, and runs one again.
"""

from .history import History, Outcome, PromiseBroken, crash_at_every_turn

__all__ = ["History", "Outcome", "PromiseBroken", "crash_at_every_turn"]
