"""Host functions: types, exceptions through the guest, throwing, calls inside calls."""

from __future__ import annotations

import copy
import itertools
import pickle
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any

import pytest
from conftest import Compile

import husk

MODULE = """(module
  (type $e (func (param i32)))
  (import "env" "f" (func $f (param i32) (result i32)))
  (memory (export "memory") 1)
  (tag $tag (export "oops") (param i32))
  (func (export "call") (param i32) (result i32) local.get 0 call $f)
  (func (export "plain") (param i32) (result i32) local.get 0)
  (func (export "throw") (param i32) (result i32) local.get 0 throw $tag)
  (func (export "catch") (param i32) (result i32)
    try (result i32)
      local.get 0 call $f
    catch $tag
      i32.const 1000 i32.add
    end))"""


def made_of(image_of: Compile, function: object, **options: object) -> husk.Sandbox:
    imports = husk.Imports()
    given: dict[str, object] = {"params": ["i32"], "results": ["i32"], **options}
    imports.func("env", "f", function, **given)  # type: ignore[arg-type]
    return husk.Sandbox(image_of(MODULE), imports)


def test_annotations(image_of: Compile) -> None:
    imports = husk.Imports()

    @imports.function("env", "f")
    def plus(x: Annotated[int, husk.I32]) -> Annotated[int, husk.I32]:
        return x + 1

    assert husk.Sandbox(image_of(MODULE), imports).call("call", 1) == 2
    item = image_of(MODULE).imports[0]
    imports.match(item)

    @imports.function("env")
    def many(a: int, b: float, c: bool, d: bytes, e: object) -> tuple[int, float]:
        return a, b

    params = ["i64", "f64", "i32", "v128", "externref"]
    functype = husk.FuncType(params, ["i64", "f64"])
    imports.match(husk.Extern("env", "many", husk.ExternKind.FUNC, functype))
    with pytest.raises(husk.LinkError):
        imports.match(husk.Extern("env", "many", husk.ExternKind.FUNC, husk.FuncType()))
    for wrong in (lambda x: x, lambda *, x: x):
        with pytest.raises(TypeError, match=r"annotation|positional"):
            imports.func("env", "g", wrong)

    def unknown(x: complex) -> None: ...

    with pytest.raises(TypeError, match="complex"):
        imports.func("env", "g", unknown)


def test_the_same_exception_comes_out(image_of: Compile) -> None:
    class Mine(Exception):
        pass

    mine = Mine("x")

    def fails(x: int) -> int:
        raise mine

    sandbox = made_of(image_of, fails)
    for _ in range(3):
        with pytest.raises(Mine) as caught:
            sandbox.call("call", 1)
        assert caught.value is mine
        names = [frame.name for frame in traceback.extract_tb(mine.__traceback__)]
        assert names[-1] == "fails"
        mine.__traceback__ = None
    assert sandbox.call("plain", 3) == 3
    assert sandbox.raised is None


def test_wrong_results(image_of: Compile) -> None:
    for wrong in ("x", None, 1.5, (1, 2), [1]):
        sandbox = made_of(image_of, lambda _, wrong=wrong: wrong)
        with pytest.raises(TypeError):
            sandbox.call("call", 1)
        assert sandbox.call("plain", 3) == 3
    with pytest.raises(OverflowError):
        made_of(image_of, lambda _: 1 << 40).call("call", 1)


def test_keyboard_interrupt_and_exit_come_out(image_of: Compile) -> None:
    for kind in (KeyboardInterrupt, SystemExit, GeneratorExit):

        def fails(x: int, kind: type[BaseException] = kind) -> int:
            raise kind

        with pytest.raises(kind):
            made_of(image_of, fails).call("call", 1)


def test_exit(image_of: Compile) -> None:
    def leaves(x: int) -> int:
        raise husk.Exited(x)

    sandbox = made_of(image_of, leaves)
    with pytest.raises(husk.Exited) as caught:
        sandbox.call("call", 7)
    assert caught.value.code == 7 and not caught.value.is_poisoned


@pytest.mark.parametrize(
    ("code", "error"), [("text", TypeError), (None, TypeError), (2**40, OverflowError)]
)
def test_an_exit_code_that_is_none(image_of: Compile, code: object, error: type[Exception]) -> None:
    def leaves(x: int) -> int:
        raise husk.Exited(code)  # type: ignore[arg-type]

    with pytest.raises(error):
        made_of(image_of, leaves).call("call", 7)


def test_trap_of_a_host_function(image_of: Compile) -> None:
    def traps(x: int) -> int:
        raise husk.Trap("no more")

    with pytest.raises(husk.Trap, match="no more") as caught:
        made_of(image_of, traps).call("call", 7)
    assert caught.value.trap is husk.TrapKind.HOST_FUNCTION


def test_throw_and_catch(image_of: Compile) -> None:
    tag = image_of(MODULE).tag("oops")
    assert str(tag) == "oops" and tag.type == husk.FuncType(["i32"])

    def throws(x: int) -> int:
        raise husk.GuestException(tag, (x,))

    sandbox = made_of(image_of, throws)
    assert sandbox.call("catch", 5) == 1005
    with pytest.raises(husk.GuestException) as caught:
        sandbox.call("call", 5)
    assert caught.value.tag == tag and caught.value.values == (5,)
    with pytest.raises(husk.GuestException) as own:
        sandbox.call("throw", 6)
    assert own.value.values == (6,)
    assert [frame.func_name for frame in own.value.backtrace] == ["throw"]

    def misfits(x: int) -> int:
        raise husk.GuestException(tag, (x, x))

    with pytest.raises(husk.ValueTypeError):
        made_of(image_of, misfits).call("catch", 5)


def test_exception_through_two_guests(image_of: Compile) -> None:
    depth = 0

    def recurses(x: int) -> int:
        nonlocal depth
        depth += 1
        if x == 0:
            raise ValueError("at the bottom")
        return int(sandbox.call("call", x - 1)) + 1

    sandbox = made_of(image_of, recurses)
    with pytest.raises(ValueError, match="at the bottom") as caught:
        sandbox.call("call", 5)
    assert depth == 6
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames.count("recurses") == 6


def test_recursion_has_its_own_arguments(image_of: Compile) -> None:
    def sum_to(x: int) -> int:
        return x + int(sandbox.call("call", x - 1)) if x else 0

    sandbox = made_of(image_of, sum_to)
    assert sandbox.call("call", 10) == 55
    with pytest.raises(husk.LimitError, match="nested calls"):
        sandbox.call("call", 40)
    assert sandbox.call("call", 3) == 6
    assert sandbox.depth == 0


def test_caught_exception_leaves_nothing(image_of: Compile) -> None:
    def catches(x: int) -> int:
        if x == 0:
            raise ValueError
        try:
            sandbox.call("call", 0)
        except ValueError:
            return 9
        return 0

    sandbox = made_of(image_of, catches)
    assert sandbox.call("call", 1) == 9
    assert sandbox.raised is None


def test_caller(image_of: Compile) -> None:
    kept: list[husk.Caller] = []

    def reads(caller: husk.Caller, x: int) -> int:
        kept.append(caller)
        with caller.span(x, 4) as span:
            span[:] = b"abcd"
        assert caller.memory.read(x, 4) == b"abcd"
        with pytest.raises(husk.LimitError):
            caller.span(65535, 2)
        with pytest.raises(husk.LimitError):
            caller.span(-1, 2)
        return int(caller.sandbox.call("plain", 4))

    sandbox = made_of(image_of, reads, caller=True)
    assert sandbox.call("call", 8) == 4
    assert sandbox.memory.read(8, 4) == b"abcd"
    with pytest.raises(ReferenceError):
        kept[0].span(0, 1)


def test_span_that_is_kept_counts(image_of: Compile) -> None:
    kept: list[memoryview] = []

    def keeps(caller: husk.Caller, x: int) -> int:
        kept.append(caller.span(x, 4)[1:])
        return 0

    sandbox = made_of(image_of, keeps, caller=True)
    sandbox.start()
    snapshot = sandbox.snapshot()
    sandbox.call("call", 0)
    with pytest.raises(BufferError):
        sandbox.restore(snapshot)
    kept[0][0] = 5  # after the host function, so a restore must still see it
    kept.clear()
    sandbox.restore(snapshot)
    assert sandbox.memory.read(0, 4) == bytes(4)


def test_close_in_a_host_function(image_of: Compile) -> None:
    def closes(x: int) -> int:
        for refused in (sandbox.close, sandbox.unload, lambda: sandbox.restore(sandbox.image)):
            with pytest.raises(husk.StateError):
                refused()
        return 1

    sandbox = made_of(image_of, closes)
    assert sandbox.call("call", 1) == 1


def test_unknown_imports(image_of: Compile) -> None:
    with pytest.raises(husk.LinkError, match=r"env.*f"):
        husk.Sandbox(image_of(MODULE))
    imports = husk.Imports(unknown="trap")
    assert imports.unknown == "trap"
    sandbox = husk.Sandbox(image_of(MODULE), imports)
    assert sandbox.call("plain", 1) == 1
    with pytest.raises(husk.Trap, match="env"):
        sandbox.call("call", 1)
    with pytest.raises(ValueError, match="refuse"):
        husk.Imports(unknown="maybe")  # type: ignore[arg-type]


def test_defined_things(image_of: Compile) -> None:
    text = """(module (import "e" "m" (memory 1)) (import "e" "g" (global $g i32))
      (import "e" "x" (global externref)) (import "e" "t" (table 2 funcref))
      (import "e" "tag" (tag (param i64)))
      (export "x" (global 1))
      (func (export "g") (result i32) global.get $g))"""
    image = image_of(text)
    imports = husk.Imports()
    thing = object()
    initial = {"g": 42, "x": thing}
    for item in image.imports:
        imports.define(item, initial.get(item.name))
    sandbox = husk.Sandbox(image, imports)
    assert sandbox.call("g") == 42
    assert sandbox.globals["x"] is thing
    sandbox.start()
    sandbox.restore(image)
    assert sandbox.globals["x"] is thing
    with sandbox.clone() as clone:
        assert clone.globals["x"] is thing
    assert sandbox.memory.size == 65536
    assert image.import_tag("e", "tag").type == husk.FuncType(["i64"])
    with pytest.raises(husk.NotFoundError):
        image.import_tag("e", "nothing")


def test_names_with_nuls(wat: object, image_of: Compile) -> None:
    text = r"""(module (import "e\00v" "f\00g" (func $f)) (func (export "a\00b") call $f))"""
    called = []
    imports = husk.Imports()
    imports.func("e\0v", "f\0g", lambda: called.append(1), params=[], results=[])
    sandbox = husk.Sandbox(image_of(text), imports)
    sandbox.call("a\0b")
    assert called == [1]
    with pytest.raises(husk.NotFoundError):
        sandbox.call("a")
    with pytest.raises(husk.LinkError):
        other = husk.Imports()
        other.func("e", "f", lambda: None, params=[], results=[])
        husk.Sandbox(image_of(text), other)


def test_empty_names(image_of: Compile) -> None:
    text = '(module (import "" "" (func $f (result i32))) (func (export "") (result i32) call $f))'
    imports = husk.Imports()
    imports.func("", "", lambda: 5, params=[], results=["i32"])
    assert husk.Sandbox(image_of(text), imports).call("") == 5


def deep(depth: int, function: Callable[[], object]) -> object:
    return function() if depth == 0 else deep(depth - 1, function)


@pytest.mark.parametrize("wants_caller", [False, True])
def test_at_the_end_of_the_stack(
    image_of: Compile, capfd: pytest.CaptureFixture[str], wants_caller: bool
) -> None:
    sandbox = made_of(image_of, lambda *args: args[-1], caller=wants_caller)
    ended = 0
    for depth in range(sys.getrecursionlimit() - 120, sys.getrecursionlimit()):
        try:
            assert deep(depth, lambda: sandbox.call("call", 5)) == 5
        except RecursionError:
            ended += 1
        assert sandbox.depth == 0 and not sandbox.turn.is_held
        assert sandbox.call("call", 7) == 7
    assert ended > 5
    assert capfd.readouterr().err == ""  # as of an exception that nobody gets


@pytest.mark.parametrize(
    ("first", "wants_caller"),
    [("serve", True), *itertools.product(("host", "settle", "end"), (False, True))],
)
def test_what_comes_in_the_first_line_comes_out(
    image_of: Compile, capfd: pytest.CaptureFixture[str], first: str, wants_caller: bool
) -> None:
    """As a signal's handler raises: before a function has done anything."""

    def host(*args: Any) -> Any:
        if first == "end":
            raise KeyError
        return first  # no number, so settle() looks at it

    def trace(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_name == first:
            raise KeyboardInterrupt

    sandbox = made_of(image_of, host, caller=wants_caller)
    before = sys.gettrace()
    try:
        sys.settrace(trace)
        with pytest.raises(KeyboardInterrupt) as caught:
            sandbox.call("call", 5)
    finally:
        sys.settrace(before)
    assert isinstance(caught.value.__context__, KeyError) == (first == "end")
    assert sandbox.depth == 0 and not sandbox.turn.is_held
    assert sandbox.call("plain", 3) == 3
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("code", [1 << 31, -(1 << 31) - 1, "x", None, 1.5])
def test_exit_codes_that_are_none(
    image_of: Compile, capfd: pytest.CaptureFixture[str], code: Any
) -> None:
    def leaves(x: int) -> int:
        raise husk.Exited(code)

    sandbox = made_of(image_of, leaves)
    with pytest.raises((OverflowError, TypeError)) as caught:
        sandbox.call("call", 7)
    assert isinstance(caught.value.__context__, husk.Exited)
    assert sandbox.call("plain", 3) == 3
    assert capfd.readouterr().err == ""


def test_plain_host_functions_are_as_the_others(image_of: Compile) -> None:
    class Index:
        def __index__(self) -> int:
            return 7

    for answer in (5, -1, 1 << 31, (1 << 32) - 1, True, Index()):
        plain = made_of(image_of, lambda _, answer=answer: answer)
        other = made_of(image_of, lambda _c, _x, answer=answer: answer, caller=True)
        assert plain.call("call", 1) == other.call("call", 1)
    for wrong in (1 << 32, -(1 << 31) - 1, 1.0, "x", None, ()):
        found = []
        for wants_caller in (False, True):
            sandbox = made_of(image_of, lambda *_, wrong=wrong: wrong, caller=wants_caller)
            with pytest.raises((TypeError, OverflowError)) as caught:
                sandbox.call("call", 1)
            assert caught.value.__notes__ == ["the answer of the host function env.f"]
            found.append((type(caught.value), str(caught.value)))
        assert found[0] == found[1]


def test_many_parameters(image_of: Compile) -> None:
    for count in (16, 17, 60):
        params = " ".join(["i64"] * count)
        gets = " ".join(f"local.get {i}" for i in range(count))
        text = f"""(module (import "env" "f" (func $f (param {params}) (result f64 i64)))
          (func (export "call") (param {params}) (result f64 i64) {gets} call $f))"""
        imports = husk.Imports()
        imports.func(
            "env", "f", lambda *n: (len(n), sum(n)), params=["i64"] * count, results=["f64", "i64"]
        )
        sandbox = husk.Sandbox(image_of(text), imports)
        assert sandbox.call("call", *range(count)) == (count, sum(range(count)))


def test_exceptions_are_pickled_and_copied(image_of: Compile) -> None:
    tag = image_of(MODULE).tag("oops")

    def ends(x: int) -> int:
        raise [husk.Exited(3), husk.GuestException(tag, (5,)), husk.Trap("no")][x]

    sandbox = made_of(image_of, ends)
    for number in range(3):
        with pytest.raises(husk.CallEnded) as caught:
            sandbox.call("call", number)
        for other in (pickle.loads(pickle.dumps(caught.value)), copy.copy(caught.value)):
            assert type(other) is type(caught.value)
            assert str(other) == str(caught.value) and vars(other) == vars(caught.value)
    pending = made_of(image_of, lambda _: husk.PENDING)
    with pytest.raises(husk.Pending) as waits:
        pending.call("call", 1)
    assert copy.copy(waits.value).sandbox is pending
    with pytest.raises(TypeError, match="Sandbox cannot be copied"):
        pickle.dumps(waits.value)
