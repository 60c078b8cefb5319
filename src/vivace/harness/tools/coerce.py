"""From what a model wrote to what a tool takes: JSON schema out, validated arguments in.

A native model writes arguments as raw text, a remote one as JSON; both go through here. Kept apart from pydantic's own
coercion because the error texts are read by a model and because lists may come as JSON, lines or commas.
"""

from __future__ import annotations

import json
import re
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from vivace.harness.tools.base import Args

A = TypeVar("A", bound=Args)
JsonSchema = dict[str, Any]
_TRUE, _FALSE = {"true", "1", "yes"}, {"false", "0", "no"}
_COMMA = re.compile(r",(?![^\[]*\])")  # not inside the brackets of a test's parameters


class CoercionError(Exception):
    """A value that does not fit its parameter; the text is for the model."""


def visible_fields(model: type[Args]) -> dict[str, FieldInfo]:
    """Parameters that are published; hidden ones are accepted for compatibility only."""
    return {
        name: field
        for name, field in model.model_fields.items()
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("hidden"))
    }


def json_schema(model: type[Args], required: tuple[str, ...]) -> JsonSchema:
    """JSON schema of a parameter model, plain enough for every endpoint: no references, no unions."""
    properties = {}
    for name, field in visible_fields(model).items():
        properties[name] = {**_type_schema(field.annotation), "description": field.description or name}
    return {"type": "object", "properties": properties, "required": list(required)}


def _type_schema(annotation: Any) -> JsonSchema:
    annotation = _without_none(annotation)
    if annotation is int:
        return {"type": "number"}
    if annotation is bool:
        return {"type": "boolean"}
    if get_origin(annotation) is Literal:
        return {"type": "string", "enum": list(get_args(annotation))}
    if get_origin(annotation) is list:
        item = get_args(annotation)[0]
        if isinstance(item, type) and issubclass(item, Args):
            return {"type": "array", "items": json_schema(item, tuple(item.model_fields))}
        return {"type": "array", "items": _type_schema(item)}
    return {"type": "string"}


def coerce(model: type[A], given: dict[str, Any]) -> A:
    """The parameter model from raw or JSON values.

    Raises:
        CoercionError: something is missing or does not fit, all of it named in one line.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, field in model.model_fields.items():
        if name not in given or (given[name] is None and not field.is_required()):
            if field.is_required():
                problems.append(f"{name} is missing")
            continue
        try:
            values[name] = _value(name, given[name], field.annotation)
        except CoercionError as error:
            problems.append(str(error))
    if problems:
        raise CoercionError("; ".join(problems))
    return model(**values)


def _value(name: str, value: Any, annotation: Any) -> Any:
    optional = type(None) in get_args(annotation)
    annotation = _without_none(annotation)
    if optional and isinstance(value, str) and value.strip() in ("", "null", "None") and annotation is not str:
        return None
    if annotation is str:
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if annotation is int:
        return _integer(name, value)
    if annotation is bool:
        text = str(value).strip().lower()
        if text not in _TRUE | _FALSE:
            raise CoercionError(f"{name} must be true or false, not {_quoted(value)}")
        return text in _TRUE
    if get_origin(annotation) is Literal:
        text = str(value).strip()
        if text not in get_args(annotation):
            raise CoercionError(f"{name} must be one of {', '.join(get_args(annotation))}, not {_quoted(value)}")
        return text
    return _list(name, value, get_args(annotation)[0])


def _integer(name: str, value: Any) -> int:
    try:
        number = float(value.strip() if isinstance(value, str) else value)
        if number != int(number):
            raise ValueError
        return int(number)
    except (ValueError, TypeError, OverflowError):
        raise CoercionError(f"{name} must be a whole number, not {_quoted(value)}") from None


def _list(name: str, value: Any, item: Any) -> list[Any]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith(("[", "{")):
            try:
                value = json.loads(text, strict=False)
            except json.JSONDecodeError as error:
                if item is not str:
                    raise CoercionError(f"{name} is not valid JSON ({error.msg} at character {error.pos})") from None
        if isinstance(value, str):
            parts = text.split("\n") if "\n" in text else _COMMA.split(text)
            value = [part.strip() for part in parts if part.strip()]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        raise CoercionError(f"{name} must be a list, not {_quoted(value)}")
    if not (isinstance(item, type) and issubclass(item, Args)):
        return [_value(name, part, item) for part in value]
    models = []
    for number, part in enumerate(value, 1):
        if not isinstance(part, dict):
            raise CoercionError(f"{name}[{number}] must be an object")
        try:
            models.append(coerce(item, part))
        except CoercionError as error:
            raise CoercionError(f"{name}[{number}]: {error}") from None
    return models


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(part for part in get_args(annotation) if part is not type(None))
    return annotation


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return repr(text if len(text) <= 40 else text[:37] + "...")


