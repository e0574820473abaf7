"""A guest's memory from both sides: copies, a view without a copy, growth, and what is out of
bounds. Run it: python memory.py"""

import husk
from wat import wasm

GUEST = """
(module
  (memory (export "memory") 2 4)
  (func (export "load") (param i32) (result i32) (i32.load8_s (local.get 0)))
  (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "size") (result i32) (memory.size))
  (data (i32.const 0x1000) "\\01\\02\\03\\04"))
"""

image = husk.compile(wasm(GUEST))
with husk.Sandbox(image) as sandbox:
    guest, memory = sandbox.exports, sandbox.memory
    print(f"{memory.pages} pages, {memory.size} bytes")

    # Copies, which check their bounds. The guest sees what the host writes, and the other way
    # round.
    assert memory.read(0x1000, 4) == b"\x01\x02\x03\x04"
    memory.write(0x1003, b"\x05")
    assert guest.load(0x1003) == 5
    guest.store(0x1002, -6)
    print("read:", memory.read(0x1000, 4).hex(" "))
    memory.copy(0x2000, 0x1000, 4)
    assert guest.load(0x2001) == 2

    # A trap is an exception. After one, restore: nothing that the guest did before is left.
    try:
        guest.load(0x20000)
    except husk.Trap as trap:
        print("trap:", trap.message)
    sandbox.restore(image)
    assert guest.load(0x1003) == 4
    try:
        memory.read(0x1FFFF, 2)
    except husk.LimitError:
        print("the host cannot read there, either")

    # A view: the bytes themselves. As long as somebody holds it, the state cannot be replaced
    # under it.
    with memory.buffer(0x1000, 4) as view:
        view[0] = 7
        assert guest.load(0x1000) == 7
        try:
            sandbox.restore(image)
        except BufferError:
            print("no restore while a view is held")
    sandbox.restore(image)

    # Growth, by the host or by the guest, to the module's maximum.
    print("before:", memory.grow(1), "after:", guest.size())
    try:
        memory.grow(2)
    except husk.LimitError:
        print("not beyond the maximum")
