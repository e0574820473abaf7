"""Functions of the host that a guest calls by name, with arguments in JSON."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from husk.errors import DeadlineExceeded, Interrupted
from husk.sandbox._json import BadJson, parse
from husk.sandbox._signatures import Signature
from husk.sandbox._tool_threads import ToolCall, ToolThreads, TooManyThreads

if TYPE_CHECKING:
    from husk.limits import Cancel

ANSWER_MAX = 16 << 20
_ERROR_MAX = 2000
_LOOK_SECONDS = 0.05
_SLEEP_SECONDS = 60.0


class Tool:
    """A function, and what it wants."""

    def __init__(self, name: str, function: Callable[..., Any], has_thread: bool) -> None:
        self.function = function
        self.has_thread = has_thread
        self.signature = Signature(name, function)
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            type(function).__call__
        )


class Tools:
    """The tools of a sandbox."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._threads = ToolThreads()

    def register(
        self,
        name_or_tool: Any,
        callback: Callable[..., Any] | None = None,
        *,
        has_thread: bool = True,
    ) -> None:
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
        self._tools[name] = Tool(name, function, has_thread)

    @property
    def names(self) -> list[str]:
        """All names."""
        return list(self._tools)

    def of_request(self, deadline: float | None, cancel: Cancel | None) -> RequestTools:
        """The tools for a request that ends at a moment of time.monotonic(), or by a token."""
        return RequestTools(self._tools, self._threads, deadline, cancel)


class RequestTools:
    """The ToolHost of one request."""

    def __init__(
        self,
        tools: dict[str, Tool],
        threads: ToolThreads,
        deadline: float | None,
        cancel: Cancel | None,
    ) -> None:
        self._tools = tools
        self._threads = threads
        self._deadline = deadline
        self._cancel = cancel

    def call(self, name: str, arguments: bytes) -> bytes:
        """Call a tool, and wait for it, up to the request's end."""
        found = self._prepare(name, arguments)
        if isinstance(found, bytes):
            return found
        tool, given = found
        function = partial(tool.function, **given)
        try:
            if tool.has_thread or tool.is_async:
                call = self._threads.start(ToolCall(function))
                self._wait(call)
            else:
                call = ToolCall(function)
                call.go()
        except TooManyThreads as error:
            return _failed(name, str(error))
        if call.error is None:
            return _answer(name, call.result)
        if not isinstance(call.error, Exception):
            raise call.error
        return _failed(name, _text_of(call.error))

    async def call_async(self, name: str, arguments: bytes) -> bytes:
        """Call a tool from the request's loop. One that is no coroutine gets a thread."""
        found = self._prepare(name, arguments)
        if isinstance(found, bytes):
            return found
        tool, given = found
        try:
            if tool.is_async or not tool.has_thread:
                result = tool.function(**given)
            else:
                result = await self._on_thread(partial(tool.function, **given))
            if inspect.iscoroutine(result):
                result = await result
        except Exception as error:
            return _failed(name, _text_of(error))
        return _answer(name, result)

    async def _on_thread(self, function: Callable[[], Any]) -> Any:
        """Raises what the function raised. The task that is cancelled does not wait for it."""
        import asyncio

        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(ended.set)

        call = self._threads.start(ToolCall(function, tell, awaits=False))
        try:
            await ended.wait()
        except BaseException:
            call.leave()
            raise
        if call.error is not None:
            raise call.error
        return call.result

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

    def _wait(self, call: ToolCall) -> None:
        """Wait for a call. Raises DeadlineExceeded and Interrupted: it is left to itself."""
        try:
            while True:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                look = _LOOK_SECONDS if self._cancel is not None else _SLEEP_SECONDS
                if call.wait(look if left is None else max(0.0, min(left, look))):
                    return
                if left is not None and left <= 0:
                    raise DeadlineExceeded("the request's time limit was reached in a tool")
                if self._cancel is not None and self._cancel.is_cancelled:
                    raise Interrupted("the request was cancelled in a tool")
        except BaseException:  # also of a signal's handler
            call.leave()
            raise


def _failed(name: str, why: str) -> bytes:
    text = f"Tool '{name[:200]}' failed: {why}"[:_ERROR_MAX]
    return json.dumps({"error": text}).encode()


def _text_of(error: Exception) -> str:
    """An exception of a tool. Its text is code of the tool's, which may fail, too."""
    try:
        text = str(error)
    except Exception as second:
        text = f"its text is lost: {type(second).__name__}"
    return f"{type(error).__name__}: {text}"


def _answer(name: str, result: Any) -> bytes:
    try:
        answer = json.dumps({"result": result}, allow_nan=False).encode()
    except Exception as error:  # also of the tool's own classes, and of what changes meanwhile
        return _failed(name, f"its result is nothing that JSON has: {_text_of(error)}")
    if len(answer) > ANSWER_MAX:
        return _failed(name, f"its result has {len(answer)} bytes; {ANSWER_MAX} are the most")
    return answer
