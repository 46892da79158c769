"""The command line; needs the extra ``cli``."""

from .entry import main

__all__ = ["main"]
