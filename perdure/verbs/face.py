"""What an engine and a client have in common: whatever may be asked of runs, whoever drives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..run import Run
from .incidents import IncidentVerbs
from .life import LifeVerbs
from .signals import SignalVerbs

if TYPE_CHECKING:
    from ..actors.endings import Ending

__all__ = ["Face"]

Counted_co = TypeVar("Counted_co", bound="int | None", covariant=True)


class Face(SignalVerbs, IncidentVerbs[Counted_co], LifeVerbs, Generic[Counted_co]):
    """What handles on runs need of whoever gave them out."""

    def _handle(self, id: str, workflow: str, ending: Ending | None = None) -> Run[Any]:
        return Run(self, id, workflow, ending)
