"""The tool's arguments: their schema, and the check of what a client sent.

The check is made here and not by the schema alone: clients need not look at that, and a model
mends its mistake best by a sentence that names it.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from typing import Any

from husk.sandbox._files import checked

CODE_MAX = 1 << 20
"""Characters of code."""
FILES_MAX = 64
"""Files of one request, in and out."""
_NAMES = ("code", "session", "files", "deadline")


@dataclass(frozen=True)
class Bounds:
    """What a request may ask for."""

    deadline: float
    """Seconds."""
    files_bytes: int
    """All files together."""
    sessions: int


@dataclass
class Arguments:
    """What a request asks for."""

    code: str
    deadline: float
    session: str | None = None
    """None: a fresh state. "new", or the name of a session."""
    files: dict[str, bytes] = field(default_factory=dict)


def schema(bounds: Bounds) -> dict[str, Any]:
    """The tool's input, as JSON Schema."""
    text = {"type": "string"}
    properties: dict[str, Any] = {
        "code": {**text, "maxLength": CODE_MAX, "description": "Python code"},
        "files": {
            "type": "array",
            "maxItems": FILES_MAX,
            "description": "files for /input, each as text or as base64",
            "items": {
                "type": "object",
                "properties": {
                    "path": {**text, "description": "below /input, such as data/a.csv"},
                    "text": text,
                    "base64": text,
                },
                "required": ["path"],
                "additionalProperties": False,
            },
        },
        "deadline": {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": bounds.deadline,
            "description": f"seconds until the code is cut off; default {bounds.deadline:g}",
        },
    }
    if bounds.sessions:
        properties["session"] = {
            **text,
            "description": "omit it for a fresh state; 'new' begins a session, whose id is in the "
            "answer; with that id, names, modules and files of earlier runs are there",
        }
    return {
        "type": "object",
        "properties": properties,
        "required": ["code"],
        "additionalProperties": False,
    }


def arguments_of(given: dict[str, Any] | None, bounds: Bounds) -> Arguments:
    """Check a client's arguments. Raises ValueError, whose text is for the model."""
    given = given or {}
    for name in given:
        if name not in _NAMES:
            raise ValueError(f"there is no argument {name[:80]!r}: there are {', '.join(_NAMES)}")
    if "code" not in given:
        raise ValueError("the argument 'code' is missing")
    code = _text(given["code"], "code")
    if len(code) > CODE_MAX:
        raise ValueError(f"'code' has {len(code)} characters, and at most {CODE_MAX} are taken")
    session = given.get("session")
    return Arguments(
        code,
        _seconds(given.get("deadline"), bounds.deadline),
        None if session is None else _text(session, "session"),
        _files(given.get("files"), bounds.files_bytes),
    )


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name!r} must be a string, not {_kind(value)}")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name!r} has half of a surrogate pair, which is no character")
    return value


def _seconds(value: Any, most: float) -> float:
    if value is None:
        return most
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"'deadline' must be a number of seconds, not {_kind(value)}")
    if not 0 < value <= most or not math.isfinite(value):
        raise ValueError(f"'deadline' must be more than 0 and at most {most:g} seconds")
    return float(value)


def _files(value: Any, bytes_max: int) -> dict[str, bytes]:
    if value is None:
        return {}
    if not isinstance(value, list):
        raise ValueError(f"'files' must be an array of objects, not {_kind(value)}")
    if len(value) > FILES_MAX:
        raise ValueError(f"'files' has {len(value)} items, and at most {FILES_MAX} are taken")
    files: dict[str, bytes] = {}
    left = bytes_max
    for idx, item in enumerate(value):
        path, content = _file(item, f"files[{idx}]")
        if path in files:
            raise ValueError(f"files[{idx}]: {path!r} is there twice")
        left -= len(content)
        if left < 0:
            raise ValueError(f"'files' has more than {bytes_max} bytes together")
        files[path] = content
    return checked(files)


def _file(item: Any, where: str) -> tuple[str, bytes]:
    if not isinstance(item, dict):
        raise ValueError(f"{where} must be an object with path and text or base64")
    for name in item:
        if name not in ("path", "text", "base64"):
            raise ValueError(f"{where}: there is no {name[:80]!r}: path, and text or base64")
    path = _text(item.get("path"), f"{where}.path").removeprefix("/input/")
    text, encoded = item.get("text"), item.get("base64")
    if (text is None) == (encoded is None):
        raise ValueError(f"{where}: it needs either text or base64")
    if text is not None:
        return path, _text(text, f"{where}.text").encode()
    data = _text(encoded, f"{where}.base64")
    try:
        return path, base64.b64decode(data, validate=True)
    except ValueError as error:  # binascii.Error, or a letter beyond ASCII
        raise ValueError(f"{where}.base64 is no base64: {error}") from None


def _kind(value: Any) -> str:
    """The name that JSON has for a value's type."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return names.get(type(value), "an array" if isinstance(value, list) else "an object")
