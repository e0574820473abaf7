"""A clean instance for every request: a snapshot after the guest's own initialisation, a restore
after each call. Run it: python snapshot.py"""

import husk
from wat import wasm

GUEST = """
(module
  (global $served (mut i32) (i32.const 0))
  (global $ready (mut i32) (i32.const 0))
  (func (export "initialise") (global.set $ready (i32.const 1)))
  (func (export "serve") (result i32 i32)
    (global.set $served (i32.add (global.get $served) (i32.const 1)))
    (global.get $ready) (global.get $served)))
"""

image = husk.compile(wasm(GUEST))
with husk.Sandbox(image) as sandbox:
    sandbox.call("initialise")
    ready = sandbox.snapshot()
    for _ in range(3):
        print(sandbox.call("serve"))
        sandbox.restore(ready)  # about a microsecond, and the pages that the request wrote

# The snapshot is a file, too: it is opened in another process without initialising anything.
again = husk.Image.open(ready.to_bytes())
with husk.Sandbox(again) as sandbox:
    print("from its bytes:", sandbox.call("serve"))
