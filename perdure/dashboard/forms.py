"""Forms for what people fill in: made of the type of a signal's payload or of a workflow's input."""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["form_of"]

_PLAIN: Final = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
_MOMENTS: Final = {"date": "date", "date-time": "moment"}


def form_of(annotation: Any) -> dict[str, Any]:
    """Return the fields of a form: one for each property, one for a simple value, or JSON where no form can be made.

    What a form sends is checked by the engine, as anything that is sent: it is only a help.
    """
    schema = _schema(annotation)
    if schema is None:
        return {"whole": True, "fields": [{"name": "", "kind": "json", "required": False}]}
    root = _resolve(schema, schema)
    properties = root.get("properties")
    if not isinstance(properties, dict) or not properties:
        return {"whole": True, "fields": [_field("", root, schema, required=True)]}
    required = set(root.get("required", ()))
    fields = [_field(name, part, schema, required=name in required) for name, part in properties.items()]
    return {"whole": False, "fields": fields}


def _schema(annotation: Any) -> dict[str, Any] | None:
    if annotation is None:
        return None
    describe = getattr(annotation, "model_json_schema", None) or getattr(annotation, "json_schema", None)
    try:
        found: Any = describe() if callable(describe) else msgspec.json.schema(annotation)
    except Exception:  # noqa: BLE001 - a type of the user's that nobody can describe
        return None
    return found if isinstance(found, dict) else None


def _resolve(part: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference into the definitions beside the schema."""
    for _ in range(8):
        if not isinstance(part, dict) or "$ref" not in part:
            break
        part = schema.get("$defs", {}).get(str(part["$ref"]).rpartition("/")[2], {})
    return part if isinstance(part, dict) else {}


def _field(name: str, part: Any, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    part = _resolve(part, schema)
    shown = {"name": name, "required": required and "default" not in part, "default": part.get("default")}
    choices = part.get("anyOf")
    if isinstance(choices, list):
        wanted = [_resolve(choice, schema) for choice in choices]
        wanted = [choice for choice in wanted if choice.get("type") != "null"]
        if len(wanted) != len(choices):
            shown["required"] = False
        part = wanted[0] if len(wanted) == 1 else {}
    if isinstance(part.get("enum"), list):
        return {**shown, "kind": "choice", "choices": part["enum"]}
    kind = part.get("type")
    if kind == "string" and part.get("format") in _MOMENTS:
        return {**shown, "kind": _MOMENTS[part["format"]]}
    return {**shown, "kind": _PLAIN.get(kind if isinstance(kind, str) else "", "json")}
