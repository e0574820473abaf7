"""A guest that calls its host. Run it: python hello.py

The guest imports a function, and exports one that calls it. Both sides of the host are here: what
it gives, and what it asks for.
"""

import husk
from wat import wasm

GUEST = """
(module
  (import "host" "hello" (func $hello))
  (func (export "run") (call $hello)))
"""

imports = husk.Imports()


@imports.function("host")
def hello() -> None:
    print("hello from the host, asked for by a virtual machine")


image = husk.compile(wasm(GUEST))
with husk.Sandbox(image, imports) as sandbox:
    sandbox.call("run")
