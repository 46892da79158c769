"""Every event of the engine; the fields are listed in the documentation."""

from .dsl.events import *  # noqa: F403
from .dsl.events import __all__  # noqa: F401 - the star takes it from there
