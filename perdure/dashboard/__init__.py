"""The web page: see runs, and steer them; needs the extra ``dashboard``."""

from importlib.util import find_spec

if not (find_spec("starlette") and find_spec("uvicorn")):
    msg = "the dashboard needs starlette and uvicorn: pip install 'perdure[dashboard]'"
    raise ImportError(msg)

from .app import create_app
from .serving import serve

__all__ = ["create_app", "serve"]
