"""Calls that wait for a host function's answer: here, in snapshots, and by bytes."""

from __future__ import annotations

import gc
import time

import pytest
from conftest import Compile

import husk

MODULE = """(module
  (import "env" "ask" (func $ask (param i32) (result i64)))
  (memory (export "memory") 1)
  (tag $tag (export "oops") (param i32))
  (global $next (mut i32) (i32.const 1024))
  (func (export "malloc") (param i32) (result i32)
    global.get $next
    (global.set $next (i32.add (global.get $next) (local.get 0))))
  (func (export "call") (param i32) (result i64 i32) local.get 0 call $ask local.get 0)
  (func (export "twice") (param i32) (result i64)
    local.get 0 call $ask i32.wrap_i64 call $ask)
  (func (export "catch") (param i32) (result i64)
    try (result i64) local.get 0 call $ask catch $tag i64.extend_i32_s end)
  (func (export "bytes") (param i32 i32) (result i64)
    (i32.store8 (local.get 0) (i32.wrap_i64 (call $ask (local.get 1))))
    (i64.or (i64.extend_i32_u (local.get 0))
            (i64.shl (i64.extend_i32_u (local.get 1)) (i64.const 32))))
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))"""


def imports() -> husk.Imports:
    made = husk.Imports()
    made.func("env", "ask", lambda x: husk.PENDING, params=["i32"], results=["i64"])
    return made


@pytest.fixture
def sandbox(image_of: Compile) -> husk.Sandbox:
    return husk.Sandbox(image_of(MODULE), imports())


def begin(sandbox: husk.Sandbox, name: str, *args: object, **options: object) -> husk.Pending:
    with pytest.raises(husk.Pending) as caught:
        sandbox.call(name, *args, **options)  # type: ignore[arg-type]
    assert sandbox.pending is caught.value
    return caught.value


def test_resume(sandbox: husk.Sandbox) -> None:
    pending = begin(sandbox, "call", 5)
    assert (pending.module, pending.name, pending.args_of_call) == ("env", "ask", (5,))
    assert sandbox.call("add", 1, 2) == 3  # inside the pending call
    assert sandbox.resume(7) == (7, 5)
    assert sandbox.pending is None
    with pytest.raises(husk.StateError):
        sandbox.resume(7)


def test_an_answer_brings_new_limits(sandbox: husk.Sandbox) -> None:
    cancel = husk.Cancel()
    begin(sandbox, "twice", 5, limits=husk.Limits(wall=0.01, cancel=cancel))
    time.sleep(0.03)
    cancel.cancel()
    with pytest.raises(husk.Pending):
        sandbox.resume(8, timeout=20)
    assert sandbox.resume(9) == 9
    begin(sandbox, "twice", 5)
    with pytest.raises(husk.Pending):
        sandbox.resume(8, limits=husk.Limits(wall=0.01))
    time.sleep(0.03)
    with pytest.raises(husk.DeadlineExceeded):
        sandbox.resume(9)


def test_pending_again(sandbox: husk.Sandbox) -> None:
    begin(sandbox, "twice", 5)
    with pytest.raises(husk.Pending) as caught:
        sandbox.resume(8)
    assert caught.value.args_of_call == (8,)
    with pytest.raises(husk.Pending):
        sandbox.resume(again=True)
    assert sandbox.pending is not None
    assert sandbox.resume(9) == 9


def test_wrong_answers(sandbox: husk.Sandbox) -> None:
    begin(sandbox, "call", 5)
    for wrong in ((), (1, 2), ("x",), (1.5,), (1 << 64,)):
        with pytest.raises((TypeError, OverflowError)):
            sandbox.resume(*wrong)
        assert sandbox.pending is not None
    assert sandbox.resume(1) == (1, 5)


def test_error_and_throw(sandbox: husk.Sandbox) -> None:
    begin(sandbox, "call", 5)
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        sandbox.resume(error=mine)
    assert caught.value is mine
    tag = sandbox.image.tag("oops")
    begin(sandbox, "catch", 5)
    assert sandbox.resume(error=husk.GuestException(tag, (77,))) == 77
    begin(sandbox, "call", 5)
    with pytest.raises(husk.GuestException) as thrown:
        sandbox.resume(error=husk.GuestException(tag, (78,)))
    assert thrown.value.values == (78,)


def test_exit_as_an_answer(sandbox: husk.Sandbox) -> None:
    begin(sandbox, "call", 5)
    with pytest.raises(husk.Exited) as caught:
        sandbox.resume(error=husk.Exited(3))
    assert caught.value.code == 3


def test_snapshot_of_a_pending_call(sandbox: husk.Sandbox) -> None:
    begin(sandbox, "call", 5)
    snapshot = sandbox.snapshot()
    standing = snapshot.standing
    assert standing is not None
    assert (standing.module, standing.name) == ("env", "ask")
    assert standing.type == husk.FuncType(["i32"], ["i64", "i32"])
    assert [frame.func_name for frame in snapshot.backtrace] == ["ask", "call"]
    assert sandbox.resume(1) == (1, 5)
    for answer in (2, 3):
        sandbox.restore(snapshot)
        assert sandbox.pending is not None and sandbox.pending.args_of_call == (5,)
        assert sandbox.resume(answer) == (answer, 5)
    reopened = husk.Image.open(snapshot.to_bytes())
    with husk.Sandbox(reopened, imports()) as other:
        assert other.pending is not None and other.pending.args_of_call == ()
        with other.clone() as third:
            assert third.resume(8, timeout=5) == (8, 5)
        assert other.resume(4) == (4, 5)


def test_restore_abandons(sandbox: husk.Sandbox) -> None:
    sandbox.start()
    snapshot = sandbox.snapshot()
    begin(sandbox, "call", 5)
    sandbox.restore(snapshot)
    assert sandbox.pending is None
    begin(sandbox, "call", 6)
    sandbox.close()


def test_bytes(sandbox: husk.Sandbox) -> None:
    with pytest.raises(husk.Pending) as caught:
        sandbox.call_bytes("bytes", b"hello")
    assert caught.value.args_of_call == (5,)
    assert sandbox.resume(ord("j")) == b"jello"


def test_many(sandbox: husk.Sandbox) -> None:
    with pytest.raises(husk.Pending) as caught:
        sandbox.call_many("call", [(1,), (2,)])
    assert caught.value.results == []
    assert sandbox.resume(9) == (9, 1)


def test_limit_passes_while_pending(sandbox: husk.Sandbox) -> None:
    passed: list[float] = []
    begin(
        sandbox,
        "call",
        5,
        limits=husk.Limits(wall=0.02, passed=lambda: passed.append(time.monotonic())),
    )
    gc.collect()
    deadline = time.monotonic() + 5
    while not passed and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(passed) == 1
    with pytest.raises(husk.DeadlineExceeded):
        sandbox.resume(1)


def test_cancel_while_pending(sandbox: husk.Sandbox) -> None:
    cancel = husk.Cancel()
    begin(sandbox, "call", 5, limits=husk.Limits(cancel=cancel))
    cancel.cancel()
    assert cancel.is_cancelled
    with pytest.raises(husk.Interrupted):
        sandbox.resume(1)


def test_snapshot_in_a_host_function(image_of: Compile) -> None:
    taken: list[husk.Snapshot] = []
    calls: list[int] = []

    def asks(caller: husk.Caller, x: int) -> int:
        calls.append(x)
        if not taken:
            taken.append(caller.snapshot())
        return x + 100

    made = husk.Imports()
    made.func("env", "ask", asks, params=["i32"], results=["i64"], caller=True)
    sandbox = husk.Sandbox(image_of(MODULE), made)
    assert sandbox.call("call", 5) == (105, 5)
    with husk.Sandbox(taken[0], made) as other:
        assert other.pending is not None
        assert other.resume(again=True) == (105, 5)
    assert calls == [5, 5]


def test_only_the_outermost_call_can_be_pending(sandbox: husk.Sandbox) -> None:
    outer = begin(sandbox, "call", 5)
    with pytest.raises(husk.Trap) as caught:
        sandbox.call("call", 6)
    assert caught.value.trap is husk.TrapKind.HOST_FUNCTION
    assert sandbox.pending is outer
    assert sandbox.resume(7) == (7, 5)


def test_pending_in_a_nested_call(image_of: Compile) -> None:
    def asks(x: int) -> object:
        if x == 1:
            with pytest.raises(husk.Trap):
                mine.call("call", 2)
            return 9
        return husk.PENDING

    made = husk.Imports()
    made.func("env", "ask", asks, params=["i32"], results=["i64"])
    mine = husk.Sandbox(image_of(MODULE), made)
    assert mine.call("call", 1) == (9, 1)
    assert mine.pending is None
