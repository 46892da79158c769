"""Every error of the engine; the tree is drawn in the documentation."""

from .dsl.errors import *  # noqa: F403
from .dsl.errors import __all__  # noqa: F401 - the star takes it from there
