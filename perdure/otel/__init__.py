"""Traces and metrics by OpenTelemetry's API; needs the extra ``otel``, and an SDK of your choice to send them."""

from ..errors import MissingExtra

try:
    from .telemetry import OpenTelemetry
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("opentelemetry"):
        raise
    what = "telemetry"
    raise MissingExtra(what, "otel") from None

__all__ = ["OpenTelemetry"]
