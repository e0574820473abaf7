"""Sandbox.call() in C (husk._fast) does what it does in Python."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import pytest
from conftest import Compile

import husk
from husk._fast import Turn

MODULE = """(module
  (import "env" "f" (func $f (param i32) (result i32)))
  (func (export "call") (param i32) (result i32) local.get 0 call $f)
  (func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0)
  (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "none"))
  (func (export "two") (param i32 f64) (result f64 i32) local.get 1 local.get 0)
  (func (export "trap") (param i32) (result i32) unreachable)
  (func (export "spin") (loop br 0)))"""


def made_of(image_of: Compile, function: object = lambda x: x) -> husk.Sandbox:
    imports = husk.Imports()
    imports.func("env", "f", function, params=["i32"], results=["i32"])  # type: ignore[arg-type]
    return husk.Sandbox(image_of(MODULE), imports)


def outcome_of(call: Callable[[], object]) -> object:
    """What a call returns, or the kind and text of what it raises."""
    try:
        result = call()
    except Exception as error:
        return type(error), str(error)
    return type(result), result


class Index:
    def __index__(self) -> int:
        return 7


VALUES = [
    *(
        sign * (1 << bits) + delta
        for bits in (31, 32, 63, 64)
        for delta in (-1, 0, 1)
        for sign in (1, -1)
    ),
    *(0, 1, -1, True, 1.5, -0.0, 1e300, float("inf"), "1", b"1", None, 10**40, Index(), (), 1j),
]


def test_the_same_as_python(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    in_python = husk.Sandbox.call
    for name in ("i32", "i64", "f32", "f64", "call"):
        sandbox.call(name, 1)
        for value in VALUES:
            expected = outcome_of(lambda n=name, v=value: in_python(sandbox, n, v))  # type: ignore[misc]
            assert outcome_of(lambda n=name, v=value: sandbox.call(n, v)) == expected  # type: ignore[misc]
    for _ in range(3):
        assert sandbox.call("none") is None
        assert sandbox.call("two", 3, 1.5) == (1.5, 3)
        for wrong in ((), (1,), (1, 2.0, 3), ("x", 1.0)):
            with pytest.raises(TypeError):
                sandbox.call("two", *wrong)
        with pytest.raises(TypeError):
            sandbox.call()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            sandbox.call("none", wrong=1)  # type: ignore[call-arg]


def test_ends(image_of: Compile) -> None:
    def fails(x: int) -> int:
        raise KeyError(x)

    sandbox = made_of(image_of, fails)
    for _ in range(3):
        with pytest.raises(husk.Trap) as caught:
            sandbox.call("trap", 1)
        assert [frame.func_name for frame in caught.value.backtrace] == ["trap"]
        with pytest.raises(KeyError):
            sandbox.call("call", 5)
        assert sandbox.call("i32", 5) == 5
        assert sandbox.depth == 0 and not sandbox.turn.is_held
    sandbox.call("none")
    # If the deadline comes before the guest runs, the sandbox is as it was.
    with pytest.raises(husk.DeadlineExceeded) as late:
        sandbox.call("spin", timeout=0.01)
    if late.value.is_poisoned:
        with pytest.raises(husk.PoisonedError):
            sandbox.call("i32", 5)
    timer = threading.Timer(0.2, sandbox.interrupt)
    sandbox.restore(sandbox.image)
    timer.start()
    with pytest.raises(husk.Interrupted):
        sandbox.call("spin")
    with pytest.raises(husk.PoisonedError):
        sandbox.call("i32", 5)
    sandbox.restore(sandbox.image)
    assert sandbox.call("i32", 5) == 5


def test_limits_do_not_stay(image_of: Compile) -> None:
    cancel = husk.Cancel()
    sandbox = made_of(image_of)
    assert sandbox.call("i32", 1, limits=husk.Limits(cancel=cancel)) == 1
    cancel.cancel()
    assert sandbox.call("i32", 1) == 1
    with pytest.raises(husk.Interrupted):
        sandbox.call("i32", 1, limits=husk.Limits(cancel=cancel))
    assert sandbox.call("i32", 1) == 1


def test_recursion(image_of: Compile) -> None:
    def recurses(x: int) -> int:
        return int(sandbox.call("call", x - 1)) + x if x else 0

    sandbox = made_of(image_of, recurses)
    for _ in range(3):
        assert sandbox.call("call", 10) == 55


def test_other_functions_of_the_same_name(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    assert [sandbox.call("i32", 1) for _ in range(3)] == [1, 1, 1]
    function = sandbox.exports.i32
    sandbox.load(
        image_of('(module (func (export "i32") (param f64 f64) (result f64) local.get 1))')
    )
    assert [sandbox.call("i32", 1.0, 2.5) for _ in range(3)] == [2.5] * 3
    with pytest.raises(husk.ValueTypeError):
        function(1)
    sandbox.unload()
    with pytest.raises(husk.StateError):
        sandbox.call("i32", 1.0, 2.5)
    sandbox.close()
    with pytest.raises(husk.StateError):
        function(1)


def test_threads_take_turns(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    wrong: list[object] = []

    def work() -> None:
        wrong.extend(i for i in range(20) if sandbox.call("i32", i) != i)

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        work()
    assert wrong == []
    sandbox.call("none")
    turn = sandbox.turn
    assert turn.acquire() and not turn.acquire()
    with pytest.raises(husk.StateError, match="another thread"):
        sandbox.call("none")
    turn.release()
    sandbox.call("none")


def test_a_subclass_may_have_its_own_call(image_of: Compile) -> None:
    class Mine(husk.Sandbox):
        def call(self, name: str, *args: object, **options: object) -> object:
            return ("mine", super().call(name, *args, **options))  # type: ignore[arg-type]

    sandbox = Mine(image_of(MODULE), husk.Imports(unknown="trap"))
    assert sandbox.call("i32", 1) == sandbox.exports.i32(1) == ("mine", 1)


def test_a_turn_is_no_lock() -> None:
    turn = Turn(weakref.ref(Index()))
    assert not turn.is_held and turn.acquire() and turn.is_held and not turn.acquire()
    turn.release()
    assert turn.acquire() and turn.depth == 0


def test_functions(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    function = sandbox.exports.two
    assert isinstance(function, husk.Function)
    assert (function.name, str(function.type)) == ("two", "(i32 f64) -> (f64 i32)")
    assert repr(function) == "<husk.Function two (i32 f64) -> (f64 i32)>"
    for _ in range(3):
        assert function(1, 2.5) == function(1, 2.5, timeout=10) == (2.5, 1)
        assert function(*[1, 2.5], limits=husk.Limits(wall=10)) == (2.5, 1)
        for wrong in ((), (1,), range(3), range(40)):
            with pytest.raises(husk.ValueTypeError, match=f"not {len(wrong)}"):
                function(*wrong)
        with pytest.raises(TypeError):
            function(1, 2.5, wrong=1)  # type: ignore[call-arg]
    many = " ".join(["i32"] * 30)
    text = f'(module (func (export "f") (param {many}) (result i32) local.get 29))'
    assert husk.Sandbox(image_of(text)).exports.f(*range(30)) == 29


def test_a_function_keeps_to_limits_and_turns(image_of: Compile) -> None:
    sandbox = made_of(image_of)
    function = sandbox.exports.i32
    assert [function(1), function(2)] == [1, 2]
    turn = sandbox.turn
    assert turn.acquire()
    with pytest.raises(husk.StateError, match="another thread"):
        function(1)
    turn.release()
    sandbox.load(
        image_of('(module (func (export "i32") (param f64 f64) (result f64) local.get 1))')
    )
    sandbox.call("i32", 1.0, 2.5)
    assert function(1.0, 2.5) == 2.5
    with pytest.raises(husk.ValueTypeError):
        function(1)
