"""References to exceptions."""

from __future__ import annotations

import os

import pytest

import husk

# By hand, because not every assembler of texts knows exnref:
#   (tag $t (export "t") (param i32))
#   (func (export "make") (param i32) (result exnref)
#     (block $h (result exnref)
#       (try_table (catch_all_ref $h) (throw $t (local.get 0)))
#       unreachable))
#   (func (export "rethrow") (param exnref) local.get 0 throw_ref)
#   (func (export "echo") (param exnref) (result exnref) local.get 0)
EXNREF = bytes.fromhex(
    "0061736d01000000"
    "01130460017f0060017f01696001690060016901 69"
    "030403010203"
    "0d03010000"
    "071d04046d616b650000077265 7468726f770001046563686f0002 01740400"
    "0a1d03"
    "1000 0269 1f40010300 2000 0800 0b 00 0b 0b"
    "0500 2000 0a 0b"
    "0400 2000 0b"
)


def test_exceptions_as_values() -> None:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used")
    sandbox = husk.Sandbox(husk.compile(EXNREF, level=0))
    reference = sandbox.call("make", 7)
    assert isinstance(reference, husk.ExnRef)
    with pytest.raises(husk.GuestException) as caught:
        sandbox.call("rethrow", reference)
    assert caught.value.values == (7,) and caught.value.tag == sandbox.exports.t
    assert sandbox.call("echo", None) is None
    with pytest.raises(husk.Trap) as null:
        sandbox.call("rethrow", None)
    assert null.value.trap is husk.TrapKind.NULL_EXCEPTION_REFERENCE
    with pytest.raises(husk.Trap):
        sandbox.call("rethrow", husk.ExnRef(12345))
    with pytest.raises(husk.ValueTypeError):
        sandbox.call("echo", 5)
    for wrong in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            sandbox.call("echo", husk.ExnRef(wrong))
