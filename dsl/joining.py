"""When a group of strands has come to its outcome: policies as data, which only count.

Rules:

1. A group *is lost* once so many strands have failed that it cannot succeed any more; nothing further of it begins.
2. A group *is decided* once its outcome is certain and the strands that are still under way are no longer wanted.
3. What a policy says of more ended strands never takes back what it said of fewer.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from .errors import DefinitionError
from .policies import check_count

__all__ = ["ALL", "FirstStrand", "JoinPolicy", "Tolerance", "check_tolerance"]


class Tolerance(msgspec.Struct, frozen=True):
    """How many strands must succeed or may fail, and whether the rest is stopped once that is certain.

    Attributes:
        min_successful: How many must succeed; all that may not fail when it is left out, one in a race.
        tolerated_failures: How many may fail; as many as ``min_successful`` leaves over when it is left out.
        fail_fast: Whether strands under way are stopped once too many have failed.
        race: Whether strands under way are stopped once enough have succeeded.
    """

    min_successful: int | None = None
    tolerated_failures: int | None = None
    fail_fast: bool = False
    race: bool = False

    @property
    def decides_early(self) -> bool:
        """Whether strands may be stopped, so that what was decided has to be recorded."""
        return self.fail_fast or self.race

    def needed(self, size: int) -> int:
        """Return how many of so many strands must succeed."""
        if self.min_successful is not None:
            return self.min_successful
        if self.race:
            return 1
        return size - min(self.tolerated_failures or 0, size)

    def is_lost(self, size: int, failed: Collection[int]) -> bool:
        """Tell whether too many have failed."""
        tolerated = self.tolerated_failures
        return len(failed) > size - self.needed(size) or (tolerated is not None and len(failed) > tolerated)

    def is_decided(self, size: int, succeeded: Collection[int], failed: Collection[int]) -> bool:
        """Tell whether the outcome is certain, and the rest to be stopped."""
        if self.is_lost(size, failed):
            return self.fail_fast
        return self.race and len(succeeded) >= self.needed(size)


class FirstStrand(msgspec.Struct, frozen=True):
    """The first strand's end is the group's, and stops the others: they only accompany it."""

    def is_lost(self, size: int, failed: Collection[int]) -> bool:
        """Tell whether the first has failed."""
        return 0 in failed

    def is_decided(self, size: int, succeeded: Collection[int], failed: Collection[int]) -> bool:
        """Tell whether the first has ended."""
        return 0 in failed or 0 in succeeded


JoinPolicy = Tolerance | FirstStrand

ALL = Tolerance()
"""All strands must succeed, and all are waited for."""


def check_tolerance(policy: Tolerance, what: str, *, size: int | None = None) -> Tolerance:
    """Return the policy if it can be met by a group of this size, as far as that is known.

    Raises:
        DefinitionError: a number or switch is wrong; the message names the group.
    """
    if policy.min_successful is not None:
        check_count(policy.min_successful, f"{what}: min_successful")
    if policy.tolerated_failures is not None:
        check_count(policy.tolerated_failures, f"{what}: tolerated_failures", least=0)
    for name in ("fail_fast", "race"):
        if not isinstance(value := getattr(policy, name), bool):
            msg = f"{what}: {name} must be True or False, got {value!r}"
            raise DefinitionError(msg)
    if size is not None and policy.needed(size) > size:
        msg = f"{what}: min_successful={policy.min_successful} of {size} strands can never succeed"
        raise DefinitionError(msg)
    return ALL if policy == ALL else policy
