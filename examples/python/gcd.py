"""The greatest common divisor of two numbers, computed by a guest. Run it: python gcd.py [A B]"""

import sys

import husk
from wat import wasm

GUEST = """
(module
  (func (export "gcd") (param $a i32) (param $b i32) (result i32)
    (local $rest i32)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $b)))
        (local.set $rest (i32.rem_u (local.get $a) (local.get $b)))
        (local.set $a (local.get $b))
        (local.set $b (local.get $rest))
        (br $again)))
    (local.get $a)))
"""

a, b = map(int, sys.argv[1:3] or (1071, 462))
image = husk.compile(wasm(GUEST))
print(image.func_type("gcd"))
with husk.Sandbox(image) as sandbox:
    # By name, or as an attribute: the same call.
    divisor = sandbox.call("gcd", a, b)
    assert divisor == sandbox.exports.gcd(a, b)
print(f"gcd({a}, {b}) = {divisor}")
