"""Where the ``perdure`` script begins: it runs the commands, or says what to install first.

This file must never import anything of the extra ``cli`` while it is imported itself.
"""

from __future__ import annotations

import sys
from typing import Final

from ..errors import MissingExtra

__all__ = ["main"]

_EXTRA: Final = frozenset({"click", "rich"})


def main() -> int:
    """Run the command line and return its exit code; without the extra, print one line that says how to get it."""
    try:
        from .commands import perdure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(MissingExtra("the perdure command", "cli"), file=sys.stderr)  # noqa: T201 - what would print is missing
        return 1
    perdure(prog_name="perdure")
    return 0
