"""Tools that fail in rare ways, and what a guest can say to one. No guest is needed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import typing
from collections.abc import Callable
from typing import Any

import pytest

from husk.sandbox import _json
from husk.sandbox._signatures import Signature
from husk.sandbox._tool_threads import THREADS_MAX
from husk.sandbox._tools import Tools


def told(tools: Tools, arguments: bytes = b"{}") -> list[dict[str, Any]]:
    """What a guest is told that calls the tool t, from a thread and from a loop."""
    request = tools.of_request(time.monotonic() + 60, None)
    answers = request.call("t", arguments), asyncio.run(request.call_async("t", arguments))
    return [json.loads(answer) for answer in answers]


def tools_with(function: Callable[..., Any], **options: Any) -> Tools:
    tools = Tools()
    tools.register("t", function, **options)
    return tools


@pytest.mark.parametrize(
    "data",
    [
        b'"' + b'\\"' * (1 << 19),
        b'"' + b'\\"' * 500_000 + b"\\",
        b'"' * (1 << 20),
        b"[" + b'"a\\' * 340_000,
        (b"1" * 400 + b" ") * 2600,
    ],
)
def test_what_is_no_json_is_refused_in_time(data: bytes) -> None:
    begun = time.thread_time()
    with pytest.raises(_json.BadJson):
        _json.parse(data[: _json.BYTES_MAX])
    assert time.thread_time() - begun < 10  # it took hours


def test_brackets_in_texts_are_no_depth() -> None:
    for text in ("[" * 100, '\\"' + "[" * 100, "\\", '"', '\\\\"[', "a\n[" * 100):
        assert _json.parse(json.dumps({"a": text, "b": [1]}).encode()) == {"a": text, "b": [1]}
    with pytest.raises(_json.BadJson, match="deeper"):
        _json.parse(b'"\\"" ' + b"[" * 65)


class Mute(Exception):
    def __str__(self) -> str:
        raise AttributeError("it has no text")


class Changing(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("it changed meanwhile")


@pytest.mark.parametrize("has_thread", [True, False])
def test_an_exception_without_a_text_is_one_of_the_tool(has_thread: bool) -> None:
    def fail() -> None:
        raise Mute

    for answer in told(tools_with(fail, has_thread=has_thread)):
        assert answer["error"] == "Tool 't' failed: Mute: its text is lost: AttributeError"


def test_a_result_that_fails_is_an_error_of_the_tool() -> None:
    for answer in told(tools_with(lambda: Changing(a=1))):
        assert "nothing that JSON has: RuntimeError: it changed" in answer["error"]


def test_threads_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tools_with(lambda: 1)

    def refuse(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    request = tools.of_request(time.monotonic() + 60, None)
    for _ in range(THREADS_MAX + 1):
        assert "can't start new thread" in json.loads(request.call("t", b"{}"))["error"]
    monkeypatch.undo()
    assert told(tools) == [{"result": 1}] * 2


def test_a_handler_that_raises_while_a_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tools_with(lambda: 1)
    start, started = threading.Thread.start, []

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    request = tools.of_request(time.monotonic() + 60, None)
    for _ in range(THREADS_MAX + 1):
        with pytest.raises(KeyboardInterrupt):
            request.call("t", b"{}")
    monkeypatch.undo()
    assert told(tools) == [{"result": 1}] * 2
    for thread in started:
        thread.join(30)
        assert not thread.is_alive()


def test_annotations_of_rare_kinds() -> None:
    def tool(
        noted: typing.Annotated[int, ["no hash"]] = 0,
        items: typing.List = [],  # noqa: B006, UP006
        names: typing.Dict = {},  # noqa: B006, UP006
    ) -> None: ...

    signature = Signature("t", tool)
    assert signature.problem({"noted": 1, "items": [1], "names": {"a": 1}}) is None
    for wrong in ({"noted": "1"}, {"items": {}}, {"names": []}):
        assert "must be" in str(signature.problem(wrong))


@pytest.mark.parametrize("text", ["threading.Nothing", "1 +", "1 / 0"])
def test_annotations_that_cannot_be_read(text: str) -> None:
    def tool(a: Any) -> None: ...

    tool.__annotations__["a"] = text
    with pytest.raises(TypeError, match="the tool 't': "):
        Signature("t", tool)
