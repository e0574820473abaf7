"""What calls from Python cost: beside the same from C, and beside Wasmtime's binding.
bench/python/run starts it.

Each row is the median of samples, which are taken in turns. "outside" is the time outside of
KVM_RUN: what Husk and Python take, whatever the kind of KVM. Requests begin from a clean state:
Husk restores a snapshot, Wasmtime makes an instance.
"""

import argparse
import asyncio
import ctypes
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Coroutine
from importlib import metadata
from typing import Any

import husk
import wasmtime
from husk._native import ffi, lib
from husk.limits import limits_of
from husk.values import functype_new

GUEST = """
(module
  (import "host" "add" (func $host (param i32 i32) (result i32)))
  (memory (export "memory") 32)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "hosted") (param i32 i32) (result i32)
    (local $i i32)
    (loop $again
      (local.set 0 (call $host (local.get 0) (local.get 1)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 10))))
    (local.get 0))
  (func (export "write16") (param i32 i32) (result i32)
    (local $i i32)
    (loop $again
      (i32.store (i32.mul (local.get $i) (i32.const 65536)) (i32.const 7))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 16))))
    (local.get $i)))
"""
HOST_CALLS = 10
Loop = asyncio.AbstractEventLoop

preload = ctypes.CDLL(os.environ["HUSK_BENCH_PRELOAD"])
preload.bench_now_ns.restype = preload.bench_inside_ns.restype = ctypes.c_uint64
now, inside = preload.bench_now_ns, preload.bench_inside_ns


class Row:
    """An operation, and its microseconds in each sample: in all, and outside of KVM_RUN, if it is
    this thread that runs the guest."""

    def __init__(self, text: str, run: Callable[[int], object], count: int, per: int = 1) -> None:
        self.text, self.run, self.count, self.per = text, run, count, per
        self.is_here = not text.startswith("await")
        self.all: list[float] = []
        self.outside: list[float] = []

    def sample(self) -> None:
        began, began_inside = now(), inside()
        self.run(self.count)
        took, took_inside = now() - began, inside() - began_inside
        units = self.count * self.per * 1000
        self.all.append(took / units)
        self.outside.append((took - took_inside) / units)

    def __str__(self) -> str:
        outside = f"{statistics.median(self.outside):9.2f}" if self.is_here else ""
        return f"{self.text:58} {statistics.median(self.all):9.2f} {outside}"


def wasm() -> bytes:
    command = ["wat2wasm", "-", "--output=-"]
    return subprocess.run(command, input=GUEST.encode(), stdout=subprocess.PIPE, check=True).stdout


# ---- Husk ----


def address(pointer: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(int(ffi.cast("uintptr_t", pointer)))


def c_imports(engine: husk.Engine) -> husk.Imports:
    """The set whose host function is C's."""
    imports = husk.Imports(engine)
    host = ctypes.cast(preload.bench_host, ctypes.c_void_p).value
    functype, _arrays = functype_new(husk.FuncType([husk.I32, husk.I32], [husk.I32]))
    module, name = ffi.new("char[]", b"host"), ffi.new("char[]", b"add")
    row = ffi.new("struct husk_host_func *")
    row.module, row.module_bytes, row.name, row.name_bytes = module, 4, name, 3
    row.type = functype
    row.fn = ffi.cast("husk_host_fn", host)
    if lib.husk_imports_funcs(imports.pointer, row, 1, ffi.NULL) != 0:
        sys.exit("husk_imports_funcs failed")
    return imports


def from_c(
    sandbox: husk.Sandbox, name: str, limits: husk.Limits | None = None
) -> Callable[[int], object]:
    """Calls of a function, made by C."""
    func = sandbox.image.func(name)[0]
    raw = bytes(ffi.buffer(ffi.new("husk_func *", func)))

    class Func(ctypes.Structure):
        _fields_ = (("raw", ctypes.c_uint64 * (len(raw) // 8)),)

    call, value = address(ffi.addressof(lib, "husk_call")), Func.from_buffer_copy(raw)
    own = None if limits is None else address(limits.struct)

    def run(count: int) -> None:
        number = ctypes.c_uint32(count)
        if preload.bench_calls(call, address(sandbox.pointer), value, own, number) != 0:
            sys.exit(1)

    return run


def husk_rows(image: husk.Image, engine: husk.Engine) -> list[Row]:
    imports = husk.Imports(engine)
    imports.func("host", "add", lambda a, b: a + b, params=["i32", "i32"], results=["i32"])
    sandbox, in_c = husk.Sandbox(image, imports), husk.Sandbox(image, c_imports(engine))
    call, add = sandbox.call, sandbox.exports.add

    def calls(count: int) -> None:
        for _ in range(count):
            call("add", 1, 2)

    def exports(count: int) -> None:
        for _ in range(count):
            add(1, 2)

    def hosted(count: int) -> None:
        for _ in range(count):
            call("hosted", 1, 2)

    def requests(count: int) -> None:
        for _ in range(count):
            call("write16", 1, 2)
            sandbox.restore(image)

    def many(count: int) -> None:
        sandbox.call_many("add", [(1, 2)] * count)

    return [
        Row("a call: Husk from C", from_c(in_c, "add"), 100),
        Row(
            "a call: Husk from C, which asks for signals",
            from_c(in_c, "add", limits_of(None, None)),
            100,
        ),
        Row("a call: Husk, sandbox.call()", calls, 100),
        Row("a call: Husk, sandbox.exports.add()", exports, 100),
        Row("a call: Husk, one of call_many()", many, 1000),
        Row("a host call: Husk, of C", from_c(in_c, "hosted"), 20, HOST_CALLS),
        Row("a host call: Husk, of Python", hosted, 20, HOST_CALLS),
        Row("a clean instance, 16 pages written: Husk, restored", requests, 50),
    ]


# ---- Wasmtime ----


def wasmtime_rows(raw: bytes) -> list[Row]:
    engine = wasmtime.Engine()
    module = wasmtime.Module(engine, raw)
    i32 = wasmtime.ValType.i32()
    kind = wasmtime.FuncType([i32, i32], [i32])

    def instance(store: wasmtime.Store) -> Any:
        host = wasmtime.Func(store, kind, lambda a, b: a + b)
        return wasmtime.Instance(store, module, [host]).exports(store)

    store = wasmtime.Store(engine)
    exports = instance(store)
    add, hosted = exports["add"], exports["hosted"]

    def calls(count: int) -> None:
        for _ in range(count):
            add(store, 1, 2)

    def host_calls(count: int) -> None:
        for _ in range(count):
            hosted(store, 1, 2)

    def requests(count: int) -> None:
        for _ in range(count):
            fresh = wasmtime.Store(engine)
            instance(fresh)["write16"](fresh, 1, 2)

    return [
        Row("a call: Wasmtime", calls, 100),
        Row("a host call: Wasmtime, of Python", host_calls, 20, HOST_CALLS),
        Row("a clean instance, 16 pages written: Wasmtime, a new one", requests, 50),
    ]


# ---- await ----


def await_rows(
    image: husk.Image, engine: husk.Engine, calls: Callable[[int], object], loop: Loop
) -> list[Row]:
    """Awaited calls: one after the other in one sandbox; at once, each in another sandbox; and
    `calls` of Wasmtime, whose binding has no await, on a thread."""
    imports = husk.Imports(engine)
    imports.func("host", "add", lambda a, b: a + b, params=["i32", "i32"], results=["i32"])
    sandbox = husk.Sandbox(image, imports)
    many = [husk.Sandbox(image, imports) for _ in range(1000)]

    async def in_turn(count: int) -> None:
        for _ in range(count):
            await sandbox.call_async("add", 1, 2)

    async def at_once(count: int) -> None:
        await asyncio.gather(*(one.call_async("add", 1, 2) for one in many[:count]))

    async def on_thread(count: int) -> None:
        for _ in range(count):
            await asyncio.to_thread(calls, 1)

    def run(work: Callable[[int], Coroutine[Any, Any, None]]) -> Callable[[int], object]:
        return lambda count: loop.run_until_complete(work(count))

    return [
        Row("await: Husk, a thousand calls in turn, each", run(in_turn), 1000),
        Row("await: Husk, a thousand sandboxes at once, each", run(at_once), 1000),
        Row("await: Wasmtime, to_thread(), a thousand in turn, each", run(on_thread), 1000),
    ]


# ---- Report ----


def measure(rows: list[Row], rounds: int) -> None:
    for row in rows:
        row.run(row.count)  # what the first time costs is not meant
    for _ in range(rounds):
        for row in rows:
            row.sample()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=51, help="samples of each row")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    engine = husk.Engine(pool_max=8)
    info = engine.host_info()
    versions = f"husk {husk.__version__}, wasmtime {metadata.version('wasmtime')}"
    print(f"{versions}, CPython {platform.python_version()}")
    system = f"{os.cpu_count()} cores, Linux {platform.release()}, KVM kind: {info.hypervisor}"
    print(f"{info.cpu_name}, {system}\n")
    raw = wasm()
    image = husk.compile(raw, engine=engine)
    theirs = wasmtime_rows(raw)
    rows = husk_rows(image, engine) + theirs
    measure(rows, options.rounds)
    print(f"{'medians, microseconds':58} {'in all':>9} {'outside':>9}")
    print(*sorted(rows, key=lambda row: row.text.split(":")[0]), sep="\n")
    loop = asyncio.new_event_loop()
    waits = await_rows(image, engine, theirs[0].run, loop)
    measure(waits, min(options.rounds, 11))
    print(*waits, sep="\n")
    loop.close()
    for name, row in (("sandbox.call()", rows[2]), ("sandbox.exports.f()", rows[3])):
        pairs = zip(rows[0].outside, row.outside, strict=True)
        more = statistics.median(python - c for c, python in pairs)
        print(f"{name} outside of KVM_RUN: {more:.2f} us more than from C (limit: 2)")


if __name__ == "__main__":
    main()
