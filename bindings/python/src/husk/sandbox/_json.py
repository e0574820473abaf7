"""JSON from a guest: bounded before it is parsed."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

BYTES_MAX = 1 << 20
DEPTH_MAX = 64
DIGITS_MAX = 400

# One that does not end takes all the rest. Else each quote in it would be tried anew, and the text
# of a guest would take hours.
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_LONG_NUMBER = re.compile(f"(?<![0-9])[0-9]{{{DIGITS_MAX + 1}}}", re.ASCII)


class BadJson(ValueError):
    """It is no JSON, or too much of it."""


def _constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadJson("a number is too large")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise BadJson("an object has a name twice")
    return made


def parse(data: bytes) -> Any:
    """Parse what a guest gave. Raises BadJson."""
    if len(data) > BYTES_MAX:
        raise BadJson(f"{len(data)} bytes are more than {BYTES_MAX}")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadJson("it is no UTF-8") from None
    bare = _STRING.sub('""', text)
    depth = 0
    for found in re.finditer(r"[\[\]{}]", bare):
        depth += 1 if found[0] in "[{" else -1
        if depth > DEPTH_MAX:
            raise BadJson(f"it is nested deeper than {DEPTH_MAX}")
    if _LONG_NUMBER.search(bare):
        raise BadJson(f"a number has more than {DIGITS_MAX} digits")
    try:
        return json.loads(
            text, parse_constant=_constant, parse_float=_float, object_pairs_hook=_pairs
        )
    except BadJson:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJson(str(error)) from None
