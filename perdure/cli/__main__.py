"""``python -m perdure.cli``: the command line where no script is installed."""

from __future__ import annotations

import sys

from .entry import main

sys.exit(main())
