"""The web page: see runs, and steer them; needs the extra ``dashboard``."""

from importlib.util import find_spec

from ..errors import MissingExtra

if not (find_spec("starlette") and find_spec("uvicorn")):
    what = "the web page"
    raise MissingExtra(what, "dashboard")

from .app import create_app
from .serving import serve

__all__ = ["create_app", "serve"]
