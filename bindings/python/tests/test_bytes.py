"""Calls from bytes to bytes, in the forms of results and with the allocators of husk.h; empty
sandboxes, load, unload, park."""

from __future__ import annotations

import pytest
from conftest import Compile

import husk

MODULE = """(module
  (memory (export "memory") 1 20)
  (global $next (mut i32) (i32.const 1024))
  (func (export "malloc") (param $n i32) (result i32) (local $at i32)
    (if (i32.gt_u (local.get $n) (i32.const 1000000)) (then (return (i32.const 0))))
    (local.set $at (global.get $next))
    (global.set $next (i32.add (local.get $at) (local.get $n)))
    (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
      (then (drop (memory.grow (i32.const 16)))))
    local.get $at)
  (func (export "echo") (param i32 i32) (result i64)
    (i64.or (i64.extend_i32_u (local.get 0))
            (i64.shl (i64.extend_i32_u (local.get 1)) (i64.const 32))))
  (func (export "pair") (param i32 i32) (result i32 i32) local.get 0 local.get 1)
  (func (export "wild") (param i32 i32) (result i32 i32) i32.const -16 i32.const 100)
  (func (export "trap") (param i32 i32) (result i32 i32) unreachable)
  (func (export "spin") (loop br 0))
  (func (export "get") (result i32) global.get $next)
  (func (export "number") (param i32) (result i32) local.get 0)
  (func (export "div") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s))"""


@pytest.fixture
def sandbox(image_of: Compile) -> husk.Sandbox:
    return husk.Sandbox(image_of(MODULE))


def test_bytes(sandbox: husk.Sandbox) -> None:
    for name in ("echo", "pair"):
        for data in (b"", b"x", b"a\0b", bytes(200_000)):
            assert sandbox.call_bytes(name, data) == data
            assert sandbox.call_bytes(name, data, keeps=True) == data
    assert sandbox.call_bytes("echo", bytearray(b"abc")) == b"abc"
    assert sandbox.call_bytes("echo", memoryview(b"abc")[1:]) == b"bc"
    assert sandbox.call_str("echo", "grüße") == "grüße"
    assert sandbox.call_bytes("echo", b"abc", timeout=10) == b"abc"


def test_bytes_refused(sandbox: husk.Sandbox, image_of: Compile) -> None:
    with pytest.raises(husk.GuestError):
        sandbox.call_bytes("wild", b"abc")
    with pytest.raises(husk.GuestError):
        sandbox.call_bytes("echo", bytes(1_000_001))
    with pytest.raises(husk.ValueTypeError):
        sandbox.call_bytes("number", b"abc")
    with pytest.raises(husk.Trap):
        sandbox.call_bytes("trap", b"abc")
    with pytest.raises(husk.NotFoundError):
        sandbox.call_bytes("nothing", b"abc")
    with pytest.raises(TypeError):
        sandbox.call_bytes("echo", "text")  # type: ignore[arg-type]
    text = '(module (memory 1) (func (export "f") (param i32 i32) (result i64) i64.const 0))'
    with pytest.raises(husk.NotFoundError):
        husk.Sandbox(image_of(text)).call_bytes("f", b"abc")
    numpy = pytest.importorskip("numpy")
    with pytest.raises(BufferError):
        sandbox.call_bytes("echo", numpy.zeros((4, 4), dtype="u1")[:, ::2])


def test_many(sandbox: husk.Sandbox) -> None:
    calls = [(i, 2) for i in range(5000)]
    assert sandbox.call_many("div", calls) == [i // 2 for i in range(5000)]
    assert sandbox.call_many("pair", [(1, 2), (3, 4)]) == [(1, 2), (3, 4)]
    with pytest.raises(husk.Trap) as caught:
        sandbox.call_many("div", [(8, 2), (9, 3), (1, 0), (4, 2)])
    assert caught.value.trap is husk.TrapKind.INTEGER_DIVIDE_BY_ZERO
    assert caught.value.results == [4, 3]
    for wrong in ([(1,)], [(1, 2, 3)], [(1, "x")], [5]):
        with pytest.raises(TypeError):
            sandbox.call_many("div", wrong)  # type: ignore[arg-type]


def test_load_and_unload(image_of: Compile) -> None:
    first = image_of('(module (func (export "f") (result i32) i32.const 1))')
    second = image_of('(module (memory 1) (func (export "g") (result i32) i32.const 2))')
    with husk.Sandbox.empty(label="mine", user="me") as sandbox:
        assert not sandbox.is_loaded and sandbox.user == "me"
        for refused in (
            lambda: sandbox.call("f"),
            sandbox.snapshot,
            lambda: sandbox.memory.read(0, 1),
        ):
            with pytest.raises(husk.StateError):
                refused()
        sandbox.load(first)
        assert sandbox.call("f") == 1 and list(sandbox.exports) == ["f"]
        sandbox.load(second)
        assert sandbox.call("g") == 2
        with pytest.raises(husk.NotFoundError):
            sandbox.call("f")
        with pytest.raises(husk.InvalidArgumentError):
            sandbox.restore(first)
        with pytest.raises(husk.LinkError):
            sandbox.load(image_of('(module (import "a" "b" (func)))'))
        assert sandbox.is_loaded and sandbox.call("g") == 2
        sandbox.unload()
        sandbox.unload()
        with pytest.raises(husk.StateError, match="nothing is loaded"):
            sandbox.call("g")
        sandbox.load(first)
        sandbox.park()
        assert sandbox.is_parked
        assert sandbox.call("f") == 1
        assert not sandbox.is_parked
        sandbox.set_label(None)
        with pytest.raises(husk.LimitError):
            sandbox.set_label("x" * 129)
        with pytest.raises(husk.InvalidArgumentError):
            sandbox.set_label("a\nb")
    with pytest.raises(husk.StateError, match="closed"):
        sandbox.call("f")
    assert "closed" in repr(sandbox)


def test_options(image_of: Compile) -> None:
    image = image_of(MODULE)
    with pytest.raises(husk.LimitError):
        husk.Sandbox(image, memory_max=4096)
    sandbox = husk.Sandbox(image, memory_max=131072, stack=65536, large_pages="never")
    with pytest.raises(husk.LimitError):
        sandbox.memory.grow(2)
    for options in ({"stack": 1}, {"stack": 1 << 40}, {"host_call_depth": 1 << 31}):
        with pytest.raises((husk.InvalidArgumentError, husk.LimitError)):
            husk.Sandbox(image, **options)  # type: ignore[arg-type]
    for options in ({"stack": -1}, {"memory_max": 1 << 64}, {"host_call_depth": 1 << 32}):
        with pytest.raises(OverflowError):
            husk.Sandbox(image, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="large_pages"):
        husk.Sandbox(image, large_pages="huge")  # type: ignore[arg-type]


def test_wrong_limits(sandbox: husk.Sandbox) -> None:
    for wrong in (-1, -0.001, float("nan")):
        with pytest.raises(ValueError, match="seconds"):
            sandbox.call("get", timeout=wrong)
    assert sandbox.call("get", timeout=float("inf")) == 1024
    assert sandbox.call("get", timeout=1e30) == 1024
    with pytest.raises(TypeError):
        sandbox.call("get", timeout=1, limits=husk.Limits(wall=1))
    with pytest.raises(husk.DeadlineExceeded) as caught:
        sandbox.call("spin", timeout=0)
    assert caught.value.limit == "wall"


def test_measured(sandbox: husk.Sandbox) -> None:
    with pytest.raises(husk.Trap) as caught:
        sandbox.call("div", 1, 0, limits=husk.Limits(measure=True))
    assert caught.value.wall_seconds > 0 and caught.value.cpu_seconds > 0
