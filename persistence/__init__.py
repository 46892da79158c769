"""How runs are kept: the store and its records, and the codec that turns values into text."""

from __future__ import annotations
