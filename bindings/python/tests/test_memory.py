"""Memory by copies and by buffers, and what holds a buffer."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Callable

import pytest
from conftest import Compile

import husk

MODULE = """(module
  (memory (export "memory") 1 3)
  (memory (export "second") 1)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load8_u)
  (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store8))"""


@pytest.fixture
def sandbox(image_of: Compile) -> husk.Sandbox:
    return husk.Sandbox(image_of(MODULE))


def test_read_and_write(sandbox: husk.Sandbox) -> None:
    memory = sandbox.memory
    memory.write(10, b"hello")
    assert memory.read(10, 5) == b"hello"
    assert sandbox.call("load", 10) == ord("h")
    memory.copy(12, 10, 5)
    assert memory.read(10, 7) == b"hehello"
    memory.write(65531, bytearray(b"abcde"))
    memory.write(0, memoryview(b"xyz")[::1])
    memory.write(0, b"")
    assert memory.read(65536, 0) == b""
    assert memory.read_str(65531, 5) == "abcde"
    assert len(memory) == memory.size == 65536 and memory.pages == 1


def test_out_of_bounds(sandbox: husk.Sandbox) -> None:
    memory = sandbox.memory
    for address, count in [
        (65536, 1),
        (65535, 2),
        (-1, 1),
        (0, -1),
        (1 << 64, 1),
        (0, 1 << 62),
        (0, 1 << 70),
        ((1 << 64) - 1, 2),
    ]:
        with pytest.raises(husk.LimitError):
            memory.read(address, count)
        with pytest.raises(husk.LimitError):
            memory.buffer(address, count)
    with pytest.raises(husk.LimitError):
        memory.write(65533, b"1234")
    assert memory.read(65533, 3) == bytes(3)
    with pytest.raises(TypeError):
        memory.write(0, "text")  # type: ignore[arg-type]
    with pytest.raises(husk.LimitError):
        husk.Memory(sandbox, 7).read(0, 1)


def test_grow(sandbox: husk.Sandbox) -> None:
    view = sandbox.memory.buffer()
    assert sandbox.memory.grow(1) == 1 and sandbox.memory.pages == 2
    view[0] = 5
    assert sandbox.call("load", 0) == 5 and len(view) == 65536
    with pytest.raises(husk.LimitError):
        sandbox.memory.grow(2)
    for wrong in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            sandbox.memory.grow(wrong)


def test_several_memories(sandbox: husk.Sandbox) -> None:
    assert len(sandbox.memories) == 2
    sandbox.memories[1].write(0, b"two")
    assert sandbox.exports.second.read(0, 3) == b"two"
    assert sandbox.memory.read(0, 3) == bytes(3)


def test_buffer_is_the_memory(sandbox: husk.Sandbox) -> None:
    view = sandbox.memory.buffer(100, 4)
    view[1] = 9
    assert sandbox.call("load", 101) == 9
    sandbox.call("store", 103, 7)
    assert bytes(view) == b"\0\x09\0\x07"
    readonly = sandbox.memory.buffer(100, 4, readonly=True)
    with pytest.raises(TypeError):
        readonly[0] = 1
    assert sandbox.memory.buffer(65536).nbytes == 0


def holders() -> list[Callable[[memoryview], object]]:
    """Ways to hold a buffer."""
    numpy = pytest.importorskip("numpy")
    return [
        lambda view: view,
        lambda view: view[2:],
        lambda view: view[2:][:3].cast("b"),
        lambda view: memoryview(view),
        lambda view: numpy.frombuffer(view, dtype=numpy.uint8),
        lambda view: numpy.frombuffer(view, dtype=numpy.uint16)[1::2],
        lambda view: numpy.asarray(view)[3:].reshape(1, -1).T,
        lambda view: [numpy.frombuffer(view, dtype=numpy.uint8)],
    ]


def test_no_restore_while_a_buffer_is_held(sandbox: husk.Sandbox) -> None:
    sandbox.start()
    snapshot = sandbox.snapshot()
    for hold in holders():
        held: list[object] = [hold(sandbox.memory.buffer(0, 64))]
        refusals: list[Callable[[], object]] = [
            lambda: sandbox.restore(snapshot),
            lambda: sandbox.unload(),
            lambda: sandbox.load(snapshot),
        ]
        for refused in refusals:
            with pytest.raises(BufferError, match="in use"):
                refused()
        sandbox.call("store", 0, 1)
        held.clear()
        sandbox.restore(snapshot)
        assert sandbox.call("load", 0) == 0


def test_memory_outlives_the_sandbox_in_any_order(image_of: Compile) -> None:
    image = image_of(MODULE)
    for hold, order in itertools.product(holders(), itertools.permutations(range(3))):
        sandbox = husk.Sandbox(image)
        sandbox.memory.write(0, bytes(range(64)))
        things: list[object] = [sandbox, hold(sandbox.memory.buffer(0, 64)), sandbox.memory]
        things[2] = hold(sandbox.memory.buffer(8, 32))
        del sandbox
        for i in order:
            if isinstance(things[i], husk.Sandbox):
                things[i].close()  # type: ignore[attr-defined]
            things[i] = None
            gc.collect(0)
            for other in things:
                assert other is None or isinstance(other, husk.Sandbox) or repr(other)


def test_buffer_after_close(sandbox: husk.Sandbox) -> None:
    numpy = pytest.importorskip("numpy")
    sandbox.memory.write(0, b"kept")
    array = numpy.frombuffer(sandbox.memory.buffer(0, 4), dtype=numpy.uint8)
    sandbox.close()
    assert array.tobytes() == b"kept"
    array = array[1:]
    with pytest.raises(husk.StateError, match="closed"):
        sandbox.memory.read(0, 1)
    assert array.tobytes() == b"ept"


def test_cycle_with_a_buffer(image_of: Compile) -> None:
    numpy = pytest.importorskip("numpy")
    for _ in range(20):
        sandbox = husk.Sandbox(image_of(MODULE))
        sandbox.user = [sandbox, numpy.frombuffer(sandbox.memory.buffer(), dtype=numpy.uint8)]
        sandbox.user[1][0] = 1
        del sandbox
    gc.collect()


def test_close_frees_the_vm(image_of: Compile, descriptors: Callable[[], int]) -> None:
    engine = husk.Engine(pool_max=0)
    image = husk.Image.open(image_of(MODULE).to_bytes(), engine=engine)
    before = descriptors()
    sandboxes = [husk.Sandbox(image) for _ in range(3)]
    assert descriptors() > before
    view = sandboxes[0].memory.buffer()
    for i in range(3):
        sandboxes[i].close()
        sandboxes[i].close()
    held = descriptors()
    assert view[0] == 0
    del view, sandboxes
    gc.collect()
    assert descriptors() <= before < held
