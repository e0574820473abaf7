"""A first look at everything of the core: compile, call, host functions, snapshots."""

from __future__ import annotations

import pytest
from conftest import Compile

import husk

MODULE = """(module
  (import "env" "double" (func $double (param i32) (result i64)))
  (memory (export "memory") 1 4)
  (global (export "g") (mut i32) (i32.const 7))
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "host") (param i32) (result i64) local.get 0 call $double)
  (func (export "count") (result i32)
    i32.const 0 i32.const 0 i32.load i32.const 1 i32.add i32.store i32.const 0 i32.load)
  (func (export "pair") (param i32) (result i32 f64) local.get 0 f64.const 1.5)
  (func (export "nothing"))
  (func (export "spin") (loop br 0))
  (func (export "trap") unreachable))"""


def imports() -> husk.Imports:
    made = husk.Imports()
    made.func("env", "double", lambda x: x * 2, params=["i32"], results=[husk.I64])
    return made


@pytest.fixture
def sandbox(image_of: Compile) -> husk.Sandbox:
    return husk.Sandbox(image_of(MODULE), imports())


def test_calls(sandbox: husk.Sandbox) -> None:
    assert sandbox.call("add", 2, 3) == 5
    assert sandbox.call("add", 0xFFFFFFFF, 0) == -1
    assert sandbox.exports.add(-2, 1) == -1
    assert sandbox.exports["add"](1, 1) == 2
    assert sandbox.call("pair", 4) == (4, 1.5)
    assert sandbox.call("nothing") is None
    assert sandbox.call("host", 21) == 42
    assert sandbox.call_many("add", [(i, i) for i in range(5)]) == [0, 2, 4, 6, 8]
    assert sandbox.call_many("add", []) == []


def test_wrong_arguments(sandbox: husk.Sandbox) -> None:
    with pytest.raises(husk.ValueTypeError, match="add takes 2 arguments, not 1"):
        sandbox.call("add", 1)
    for wrong in ("1", 1.5, None, b"1"):
        with pytest.raises(TypeError):
            sandbox.call("add", wrong, 1)
    for wrong_number in (1 << 32, -(1 << 31) - 1, 10**30):
        with pytest.raises(OverflowError, match="does not fit in 32 bits"):
            sandbox.call("add", wrong_number, 1)
    with pytest.raises(husk.NotFoundError):
        sandbox.call("missing")
    with pytest.raises(LookupError):
        sandbox.call("")
    with pytest.raises(AttributeError):
        sandbox.exports.missing()
    assert sandbox.call("add", 1, 1) == 2


def test_snapshot_and_restore(sandbox: husk.Sandbox) -> None:
    assert sandbox.call("count") == 1
    snapshot = sandbox.snapshot()
    assert snapshot.is_snapshot
    assert sandbox.call("count") == 2
    sandbox.restore(snapshot)
    assert sandbox.call("count") == 2
    with husk.Sandbox(snapshot, imports()) as other:
        assert other.call("count") == 2
        with other.clone() as third:
            assert third.call("count") == 3
            assert third.call("host", 4) == 8
    assert sandbox.call("count") == 3


def test_trap_has_a_backtrace(sandbox: husk.Sandbox) -> None:
    with pytest.raises(husk.Trap, match="unreachable") as caught:
        sandbox.call("trap")
    trap = caught.value
    assert trap.trap is husk.TrapKind.UNREACHABLE
    assert [frame.func_name for frame in trap.backtrace] == ["trap"]
    assert trap.backtrace == sandbox.backtrace
    assert not trap.is_poisoned and trap.state_is_exact
    assert sandbox.call("add", 1, 1) == 2


def test_deadline_poisons(sandbox: husk.Sandbox) -> None:
    sandbox.start()
    snapshot = sandbox.snapshot()
    with pytest.raises(husk.DeadlineExceeded) as caught:
        sandbox.call("spin", timeout=0.3)  # a busy machine needs time to begin
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.limit == "wall" and caught.value.is_poisoned
    assert caught.value.wall_seconds >= 0.3
    with pytest.raises(husk.PoisonedError):
        sandbox.call("add", 1, 1)
    sandbox.restore(snapshot)
    assert sandbox.call("add", 1, 1) == 2
    with pytest.raises(husk.DeadlineExceeded) as by_cpu:
        sandbox.call("spin", limits=husk.Limits(cpu=0.02))
    assert by_cpu.value.limit == "cpu"


def test_globals_and_tables(sandbox: husk.Sandbox) -> None:
    assert sandbox.globals["g"] == 7
    sandbox.globals["g"] = -3
    assert sandbox.globals["g"] == -3
    assert list(sandbox.globals) == ["g"]
    with pytest.raises(KeyError):
        sandbox.globals["memory"]
    with pytest.raises(husk.ValueTypeError):
        sandbox.globals["g"] = 1.5
    assert list(sandbox.tables) == []
