"""A guest that never ends, ended: by a limit, by a token, by another thread. Run it: python
interrupt.py

Ctrl-C ends one, too: it raises KeyboardInterrupt, as in any other program of Python.
"""

import threading

import husk
from wat import wasm

GUEST = """
(module
  (func (export "spin") (loop $again (br $again)))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
"""

image = husk.compile(wasm(GUEST))
with husk.Sandbox(image) as sandbox:
    # Seconds since the call began. husk.Limits has CPU time, too.
    try:
        sandbox.call("spin", timeout=0.1)
    except husk.DeadlineExceeded as end:
        print(f"ended by its {end.limit} limit")
    sandbox.restore(image)

    # A token ends the calls that carry it, and no others: for a request whose client has gone.
    token = husk.Cancel()
    threading.Timer(0.1, token.cancel).start()
    try:
        sandbox.call("spin", limits=husk.Limits(cancel=token))
    except husk.Interrupted:
        print("ended by its token")
    sandbox.restore(image)

    # Whatever this sandbox runs now.
    threading.Timer(0.1, sandbox.interrupt).start()
    try:
        sandbox.call("spin")
    except husk.Interrupted:
        print("ended by another thread")
    sandbox.restore(image)
    print("and in use again:", sandbox.call("add", 1, 2))
