"""What a tool wants for arguments, from its annotations and defaults."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

Check = Callable[[Any], "str | None"]
"""Says what is wrong with a value, after its name; None: nothing."""


def kind_of(value: Any) -> str:
    """The name that JSON has for a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names = {int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), type(value).__name__)


def _anything(_value: Any) -> str | None:
    return None


def _is_kind(kind: str) -> Check:
    def check(value: Any) -> str | None:
        found = kind_of(value)
        return None if found == kind else f"must be {kind}, got {found}"

    return check


def _integer(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    found = "a fraction" if isinstance(value, float) else kind_of(value)
    return f"must be an integer number, got {found}"


def _list_of(item: Check) -> Check:
    def check(value: Any) -> str | None:
        problem = _is_kind("array")(value)
        for place, each in enumerate(value if problem is None else ()):
            wrong = item(each)
            if wrong is not None:
                return f"[{place}] {wrong}"
        return problem

    return check


def _dict_of(item: Check) -> Check:
    def check(value: Any) -> str | None:
        problem = _is_kind("object")(value)
        for key, each in (value if problem is None else {}).items():
            wrong = item(each)
            if wrong is not None:
                return f"[{key[:50]!r}] {wrong}"
        return problem

    return check


def _one_of(checks: list[Check]) -> Check:
    def check(value: Any) -> str | None:
        problems = [each(value) for each in checks]
        return None if None in problems else " or ".join(str(each) for each in problems)

    return check


def _literal(values: tuple[Any, ...]) -> Check:
    def check(value: Any) -> str | None:
        if any(type(value) is type(each) and value == each for each in values):
            return None
        return f"must be one of {', '.join(map(repr, values))}"

    return check


_PLAIN: dict[Any, Check] = {
    Any: _anything,
    object: _anything,
    int: _integer,
    float: _is_kind("number"),
    str: _is_kind("string"),
    bool: _is_kind("boolean"),
    list: _is_kind("array"),
    dict: _is_kind("object"),
    None: _is_kind("null"),
    type(None): _is_kind("null"),
}


def check_of(annotation: Any, what: str) -> Check:
    """The check that an annotation means. Raises TypeError: no value of JSON is like that."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:  # first: what it says besides may have no hash
        return check_of(args[0], what)
    if origin in (list, dict) and not args:  # typing.List, typing.Dict
        annotation = origin
    if isinstance(annotation, typing.Hashable) and annotation in _PLAIN:
        return _PLAIN[annotation]
    if origin in (typing.Union, types.UnionType):
        return _one_of([check_of(each, what) for each in args])
    if origin is typing.Literal:
        return _literal(args)
    if origin is list:
        return _list_of(check_of(args[0], what))
    if origin is dict and args[0] is str:
        return _dict_of(check_of(args[1], what))
    raise TypeError(
        f"{what} is annotated with {annotation!r}, which no value of JSON is: use bool, int, "
        "float, str, list, dict, None, Literal, unions of these, or Any"
    )


def _from_default(value: Any) -> Check:
    if value is inspect.Parameter.empty or value is None:
        return _anything
    kind = kind_of(value)
    known = ("number", "string", "boolean", "array", "object")
    return _is_kind(kind) if kind in known else _anything


class Signature:
    """Checks the arguments of one tool."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self._checks: dict[str, Check] = {}
        self._required: list[str] = []
        self._takes_any = False
        try:
            params = inspect.signature(function).parameters.values()
        except ValueError:  # some built-in functions have none
            self._takes_any = True
            return
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except TypeError:
            hints = {}  # no function, but an object that can be called
        except Exception as error:  # annotations that are texts can fail in any way
            raise TypeError(f"the tool {name!r}: {type(error).__name__}: {error}") from None
        for param in params:
            if param.kind is param.VAR_KEYWORD:
                self._takes_any = True
            elif param.kind in (param.POSITIONAL_OR_KEYWORD, param.KEYWORD_ONLY):
                what = f"the tool {name!r}: {param.name}"
                if param.name in hints:
                    check = check_of(hints[param.name], what)
                else:
                    check = _from_default(param.default)
                self._checks[param.name] = check
                if param.default is param.empty:
                    self._required.append(param.name)

    def problem(self, arguments: dict[str, Any]) -> str | None:
        """What is wrong with the arguments; None: nothing."""
        missing = [name for name in self._required if name not in arguments]
        if missing:
            return f"missing required argument {', '.join(map(repr, missing))}"
        for name, value in arguments.items():
            check = self._checks.get(name)
            if check is None:
                if self._takes_any:
                    continue
                return f"unknown argument {name[:100]!r}"
            wrong = check(value)
            if wrong is not None:
                return f"argument {name!r} {wrong}"
        return None
