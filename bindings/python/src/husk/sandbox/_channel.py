"""What both kinds of guests have in common on the host: where output goes, and their tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from husk.errors import StateError
from husk.imports import PENDING

if TYPE_CHECKING:
    from husk.instance import Sandbox
    from husk.sandbox._interpreter import Request


class RequestChannel:
    """Joins the sandbox of one set of imports with its request."""

    def __init__(self) -> None:
        self._request: Request | None = None

    def stdout(self, data: bytes) -> None:
        """Pass output on."""
        if self._request is not None:
            self._request.stdout(data)

    def stderr(self, data: bytes) -> None:
        """Pass output on."""
        if self._request is not None:
            self._request.stderr(data)

    def _call_tool(
        self, sandbox: Sandbox, question: bytes, answer: Callable[[Sandbox, bytes], int], fault: int
    ) -> Any:
        """Serve a question: the tool's name, a zero, its arguments. answer() writes what the tool
        says into the guest. Returns the host function's result: that of answer(), or fault where
        no request runs, or PENDING."""
        name, _zero, arguments = question.partition(b"\0")
        request = self._request
        if request is None:
            return fault
        called = name.decode("utf-8", "replace")
        if sandbox.awaits is None:
            return answer(sandbox, request.tools.call(called, arguments))

        async def answer_later() -> int:
            from husk.aio import current

            said = await request.tools.call_async(called, arguments)
            return answer(current(), said)

        sandbox.awaits.awaited = (answer_later, ())
        return PENDING


AnyChannel = TypeVar("AnyChannel", bound=RequestChannel)


def channel_of(sandbox: Sandbox, kind: type[AnyChannel]) -> AnyChannel:
    """The channel of a sandbox. Raises StateError."""
    channel = sandbox.kept(kind)
    if channel is None:
        raise StateError("the sandbox was not made with the imports of guest_imports()")
    return channel
