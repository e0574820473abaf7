"""Values of all types, in arguments, results, globals and tables."""

from __future__ import annotations

import math
import struct

import pytest
from conftest import Compile

import husk

ECHO = """(module
  (type $ii (func (param i32) (result i32)))
  (table (export "table") 4 10 funcref)
  (table (export "objects") 2 8 externref)
  (global (export "object") (mut externref) (ref.null extern))
  (global (export "function") (mut funcref) (ref.null func))
  (global (export "fixed") i64 (i64.const 5))
  (global (export "vector") (mut v128) (v128.const i64x2 1 2))
  (func $inc (export "inc") (param i32) (result i32) local.get 0 i32.const 1 i32.add)
  (elem (i32.const 0) $inc)
  (func (export "i32") (param i32) (result i32) local.get 0)
  (func (export "i64") (param i64) (result i64) local.get 0)
  (func (export "f32") (param f32) (result f32) local.get 0)
  (func (export "f64") (param f64) (result f64) local.get 0)
  (func (export "v128") (param v128) (result v128) local.get 0)
  (func (export "externref") (param externref) (result externref) local.get 0)
  (func (export "funcref") (param funcref) (result funcref) local.get 0)
  (func (export "all") (param i32 i64 f32 f64 v128 externref funcref)
                       (result funcref externref v128 f64 f32 i64 i32)
    local.get 6 local.get 5 local.get 4 local.get 3 local.get 2 local.get 1 local.get 0)
  (func (export "indirect") (param i32 i32) (result i32)
    local.get 1 local.get 0 call_indirect (type $ii)))"""


@pytest.fixture
def sandbox(image_of: Compile) -> husk.Sandbox:
    return husk.Sandbox(image_of(ECHO))


def test_integers(sandbox: husk.Sandbox) -> None:
    for bits in (32, 64):
        low, high = -(1 << (bits - 1)), 1 << (bits - 1)
        for number in (0, 1, -1, low, high - 1, high, 2 * high - 1, True):
            signed = (number + high) % (2 * high) - high
            assert sandbox.call(f"i{bits}", number) == signed
        for wrong in (low - 1, 2 * high, 1 << 100):
            with pytest.raises(OverflowError):
                sandbox.call(f"i{bits}", wrong)
    # Python does not write out numbers of so many digits.
    with pytest.raises(OverflowError, match="a number of 20001 bits does not fit in 32 bits"):
        sandbox.call("i32", 1 << 20000)


def test_numbers_of_other_types(sandbox: husk.Sandbox) -> None:
    numpy = pytest.importorskip("numpy")
    assert sandbox.call("i32", numpy.uint32(0xFFFFFFFF)) == -1
    assert sandbox.call("f64", numpy.float32(1.5)) == 1.5
    from decimal import Decimal

    with pytest.raises(husk.ValueTypeError):
        sandbox.call("i32", Decimal("1.5"))


def test_floats(sandbox: husk.Sandbox) -> None:
    for number in (0.0, -0.0, 1.5, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 3):
        got = sandbox.call("f64", number)
        assert struct.pack("d", got) == struct.pack("d", number)
    assert math.isnan(sandbox.call("f64", math.nan))
    assert sandbox.call("f32", 0.1) == struct.unpack("f", struct.pack("f", 0.1))[0]
    assert sandbox.call("f32", 1e300) == math.inf
    with pytest.raises(husk.ValueTypeError):
        sandbox.call("f64", "1")


def test_vectors(sandbox: husk.Sandbox) -> None:
    vector = bytes(range(16))
    assert sandbox.call("v128", vector) == vector
    assert sandbox.call("v128", bytearray(vector)) == vector
    assert sandbox.call("v128", 1 << 127) == bytes(15) + b"\x80"
    assert sandbox.globals["vector"] == struct.pack("<qq", 1, 2)
    sandbox.globals["vector"] = vector
    assert sandbox.globals["vector"] == vector
    for wrong in (bytes(15), bytes(17), b"", 1.5, "x" * 16, None, -1, 1 << 128):
        with pytest.raises((TypeError, OverflowError)):
            sandbox.call("v128", wrong)


def test_objects(sandbox: husk.Sandbox) -> None:
    thing = {"a": 1}
    assert sandbox.call("externref", thing) is thing
    assert sandbox.call("externref", None) is None
    for value in (0, 1, "text", object(), sandbox):
        assert sandbox.call("externref", value) is value
    sandbox.globals["object"] = thing
    assert sandbox.globals["object"] is thing
    objects = sandbox.tables["objects"]
    objects[1] = thing
    assert list(objects) == [None, thing]
    with pytest.raises(IndexError):
        objects[2]
    assert objects[-1] is thing
    assert objects.grow(3) == 2 and len(objects) == 5
    with pytest.raises(husk.LimitError):
        objects.grow(100)


def test_objects_and_snapshots(sandbox: husk.Sandbox) -> None:
    before, after = object(), object()
    sandbox.globals["object"] = before
    sandbox.start()
    snapshot = sandbox.snapshot()
    sandbox.globals["object"] = after
    sandbox.restore(snapshot)
    assert sandbox.globals["object"] is before
    with husk.Sandbox(snapshot) as other:
        assert other.globals["object"] is before
    reopened = husk.Image.open(snapshot.to_bytes())
    with husk.Sandbox(reopened) as other:
        stranger = other.globals["object"]
        assert isinstance(stranger, husk.ExternRef)
        other.globals["object"] = stranger
        assert other.globals["object"] == stranger


def test_functions(sandbox: husk.Sandbox, image_of: Compile) -> None:
    table = sandbox.tables["table"]
    inc = table[0]
    assert isinstance(inc, husk.FuncRef) and inc(41) == 42
    assert str(inc.type) == "(i32) -> (i32)"
    assert table[1] is None
    table[1] = sandbox.func_ref("inc")
    assert table[1] == inc and hash(table[1]) == hash(inc)
    assert sandbox.call("indirect", 1, 1) == 2
    assert sandbox.call("funcref", inc) == inc
    sandbox.globals["function"] = inc
    assert sandbox.globals["function"](1) == 2
    with pytest.raises(husk.Trap) as caught:
        sandbox.call("indirect", 2, 1)
    assert caught.value.trap is husk.TrapKind.UNINITIALIZED_ELEMENT
    with pytest.raises(husk.ValueTypeError):
        table[0] = len
    other_module = husk.Sandbox(image_of('(module (func (export "f")))'))
    with pytest.raises(husk.InvalidArgumentError):
        table[0] = other_module.func_ref("f")


def test_all_at_once(sandbox: husk.Sandbox) -> None:
    inc, thing, vector = sandbox.func_ref("inc"), object(), bytes(range(16))
    given = (-1, 1 << 62, 1.5, 2.5, vector, thing, inc)
    assert sandbox.call("all", *given) == tuple(reversed(given))
    many = sandbox.call_many("all", [given] * 3)
    assert many == [tuple(reversed(given))] * 3


def test_immutable_global(sandbox: husk.Sandbox) -> None:
    assert sandbox.globals["fixed"] == 5
    with pytest.raises(husk.ValueTypeError):
        sandbox.globals["fixed"] = 6
    assert sandbox.exports.fixed.value == 5


def test_types() -> None:
    functype = husk.FuncType(["i32", husk.F64], ("externref",))
    assert functype == husk.FuncType([husk.I32, "f64"], [husk.EXTERNREF])
    assert str(functype) == "(i32 f64) -> (externref)"
    with pytest.raises(ValueError, match="no type 'i33'"):
        husk.FuncType(["i33"])
    assert [str(kind) for kind in husk.Type] == [
        "i32",
        "i64",
        "f32",
        "f64",
        "v128",
        "funcref",
        "externref",
        "exnref",
    ]


def test_functions_of_another_sandbox(image_of: Compile) -> None:
    text = """(module (table (export "table") 2 funcref)
      (func (export "same") (param funcref) (result funcref) local.get 0)
      (func (export "f") (result i32) i32.const 1))"""
    one, two = husk.Sandbox(image_of(text)), husk.Sandbox(image_of(text))
    func = one.func_ref("f")
    assert one.call("same", func)() == one.call_func(func) == 1
    for refused in (
        lambda: two.call("same", func),
        lambda: two.call_func(func),
        lambda: two.tables["table"].__setitem__(0, func),
    ):
        with pytest.raises(husk.InvalidArgumentError, match="another sandbox"):
            refused()
    with pytest.raises(husk.ValueTypeError, match="a funcref is wanted, not str"):
        two.call_func("f")  # type: ignore[arg-type]
