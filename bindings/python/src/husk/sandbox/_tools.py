"""Functions of the host that a guest calls by name, with arguments in JSON."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from husk.errors import DeadlineExceeded
from husk.sandbox._json import BadJson, parse
from husk.sandbox._signatures import Signature

ANSWER_MAX = 16 << 20
_ERROR_MAX = 2000


class Tool:
    """A function, and what it wants."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.function = function
        self.signature = Signature(name, function)
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            type(function).__call__
        )


class Tools:
    """The tools of a sandbox."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def register(self, name_or_tool: Any, callback: Callable[..., Any] | None = None) -> None:
        """Add a tool: a name and a function; a function; or an object with `name` and `func`."""
        name: Any
        function: Any
        if isinstance(name_or_tool, str):
            name, function = name_or_tool, callback
        elif callback is not None:
            raise TypeError("the name of a tool must be a str")
        else:
            function = getattr(name_or_tool, "func", name_or_tool)
            name = getattr(name_or_tool, "name", None) or getattr(function, "__name__", "")
        if not callable(function):
            raise TypeError(f"the tool {name!r} must be a function, not {type(function).__name__}")
        if not isinstance(name, str) or not name or len(name) > 200 or "\0" in name:
            raise ValueError(f"{name!r} cannot be the name of a tool")
        self._tools[name] = Tool(name, function)

    @property
    def names(self) -> list[str]:
        """All names."""
        return list(self._tools)

    def of_request(self, deadline: float | None) -> RequestTools:
        """The tools for a request that ends at a moment of time.monotonic()."""
        return RequestTools(self._tools, deadline)


class RequestTools:
    """The ToolHost of one request."""

    def __init__(self, tools: dict[str, Tool], deadline: float | None) -> None:
        self._tools = tools
        self._deadline = deadline

    def call(self, name: str, arguments: bytes) -> bytes:
        """Call a tool, and wait for it."""
        found = self._prepare(name, arguments)
        if isinstance(found, bytes):
            return found
        tool, given = found
        try:
            result = tool.function(**given)
            if inspect.iscoroutine(result):
                result = self._wait(result)
        except DeadlineExceeded:
            raise
        except Exception as error:
            return _failed(name, f"{type(error).__name__}: {error}")
        return _answer(name, result)

    async def call_async(self, name: str, arguments: bytes) -> bytes:
        """Call a tool from the request's loop. One that is no coroutine gets a thread."""
        found = self._prepare(name, arguments)
        if isinstance(found, bytes):
            return found
        tool, given = found
        try:
            if tool.is_async:
                result = await tool.function(**given)
            else:
                result = await asyncio.to_thread(tool.function, **given)
                if inspect.iscoroutine(result):
                    result = await result
        except Exception as error:
            return _failed(name, f"{type(error).__name__}: {error}")
        return _answer(name, result)

    def _prepare(self, name: str, arguments: bytes) -> tuple[Tool, dict[str, Any]] | bytes:
        tool = self._tools.get(name)
        if tool is None:
            return _failed(name, "there is no tool of that name")
        try:
            given = parse(arguments)
        except BadJson as error:
            return _failed(name, f"its arguments: {error}")
        if not isinstance(given, dict):
            return _failed(name, "its arguments are no object")
        problem = tool.signature.problem(given)
        return (tool, given) if problem is None else _failed(name, problem)

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in a loop of its own, up to the deadline."""
        left = None if self._deadline is None else max(0, self._deadline - time.monotonic())

        async def bounded() -> Any:
            async with asyncio.timeout(left):
                return await coroutine

        results: list[Any] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                results.append(asyncio.run(bounded()))
            except BaseException as error:
                errors.append(error)

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            work()
        else:  # a loop cannot run inside another one
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join()
        if not errors:
            return results[0]
        is_late = self._deadline is not None and time.monotonic() >= self._deadline
        if isinstance(errors[0], TimeoutError) and is_late:
            raise DeadlineExceeded("the request's time limit was reached in a tool")
        raise errors[0]


def _failed(name: str, why: str) -> bytes:
    text = f"Tool '{name[:200]}' failed: {why}"[:_ERROR_MAX]
    return json.dumps({"error": text}).encode()


def _answer(name: str, result: Any) -> bytes:
    try:
        answer = json.dumps({"result": result}, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        return _failed(name, f"its result is nothing that JSON has: {error}")
    if len(answer) > ANSWER_MAX:
        return _failed(name, f"its result has {len(answer)} bytes; {ANSWER_MAX} are the most")
    return answer
