"""The same workflows on a Temporal cluster; needs the extra ``temporal``.

`worker` makes a Temporal worker that runs them; `TemporalEngine` is the small face of an engine: start, signal, cancel,
get_execution. What differs from an engine of perdure's own stands in a table of the documentation.
"""

from ..dsl.errors import MissingExtra

try:
    import temporalio  # noqa: F401 - only to see whether it is there
except ImportError:
    what = "perdure.temporal"
    raise MissingExtra(what, "temporal") from None

from .engine import TemporalEngine
from .run import TemporalRun
from .worker import worker

__all__ = ["TemporalEngine", "TemporalRun", "worker"]
