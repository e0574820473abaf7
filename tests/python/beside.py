"""Drives the module of an example by Wasmtime's binding: beside.py EXAMPLE. It prints lines that
the example prints, too.

The texts are those of the example: GUEST, or LIBRARY and MAIN.
"""

import ast
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wasmtime
from wasmtime import Func, FuncType, Instance, Linker, Module, Store, ValType

I32, I64, F64 = ValType.i32(), ValType.i64(), ValType.f64()
store = Store()


def modules_of(example: Path) -> dict[str, Module]:
    """The example's modules, by the names of the texts."""
    found = {}
    for node in ast.parse(example.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            target, text = node.targets[0], node.value.value
            if isinstance(target, ast.Name) and isinstance(text, str):
                found[target.id] = Module(store.engine, text)
    return found


def hello(modules: dict[str, Module]) -> None:
    linker = Linker(store.engine)
    text = "hello from the host, asked for by a virtual machine"
    linker.define(store, "host", "hello", Func(store, FuncType([], []), lambda: print(text)))
    linker.instantiate(store, modules["GUEST"]).exports(store)["run"](store)


def gcd(modules: dict[str, Module]) -> None:
    exports = Instance(store, modules["GUEST"], []).exports(store)
    print("gcd(1071, 462) =", exports["gcd"](store, 1071, 462))


def memory(modules: dict[str, Module]) -> None:
    exports = Instance(store, modules["GUEST"], []).exports(store)
    guest: Any = exports["memory"]
    print(f"{guest.size(store)} pages, {guest.data_len(store)} bytes")
    guest.write(store, b"\x05", 0x1003)
    exports["store"](store, 0x1002, -6)
    print("read:", bytes(guest.read(store, 0x1000, 0x1004)).hex(" "))
    print("before:", guest.grow(store, 1), "after:", exports["size"](store))


def multi_value(modules: dict[str, Module]) -> None:
    swap = Func(store, FuncType([I32, I64], [I64, I32]), lambda a, b: [b + 1, a + 1])
    exports = Instance(store, modules["GUEST"], [swap]).exports(store)
    print("twice:", tuple(exports["twice"](store, 1, 3)))
    first, *others = exports["many"](store, *range(8))
    print("many:", first, others)


def text_at(caller: Any, address: int, count: int) -> str:
    return bytes(caller["memory"].read(caller, address, address + count)).decode()


def linking(modules: dict[str, Module]) -> None:
    linker = Linker(store.engine)

    def show(caller: Any, address: int, count: int) -> None:
        print("guest says:", text_at(caller, address, count))

    shown = Func(store, FuncType([I32, I32], []), show, access_caller=True)
    linker.define(store, "host", "print", shown)
    linker.define_instance(store, "library", linker.instantiate(store, modules["LIBRARY"]))
    print("run:", linker.instantiate(store, modules["MAIN"]).exports(store)["run"](store))


def wasi(modules: dict[str, Module]) -> None:
    linker = Linker(store.engine)
    linker.define_wasi()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "greeting.txt").write_text("hello from a file\n")
        (folder / "in").write_text("hello from standard input\n")
        config = wasmtime.WasiConfig()
        config.stdin_file = str(folder / "in")
        config.stdout_file = str(folder / "out")
        config.stderr_file = str(folder / "err")
        config.preopen_dir(name, "/data")
        store.set_wasi(config)
        try:
            linker.instantiate(store, modules["GUEST"]).exports(store)["_start"](store)
        except wasmtime.ExitTrap as end:
            print("exit code:", end.code)
        print("output:", (folder / "out").read_text(), end="")
        print("errors:", (folder / "err").read_text(), end="")


def host_functions(modules: dict[str, Module]) -> None:
    linker = Linker(store.engine)
    prices = {"apple": 0.5, "pear": 0.75}
    price = Func(
        store,
        FuncType([I32, I32], [F64]),
        lambda caller, address, count: prices[text_at(caller, address, count)],
        access_caller=True,
    )
    log = Func(store, FuncType([I64], []), lambda count: print("asked for", count))
    linker.define(store, "shop", "price", price)
    linker.define(store, "shop", "log", log)
    exports = linker.instantiate(store, modules["GUEST"]).exports(store)
    print("total:", exports["total"](store, 3))
    try:
        exports["plum"](store)
    except KeyError as error:
        print("no price for", error)
    print("total:", exports["total"](store, 4))


DRIVERS: dict[str, Callable[[dict[str, Module]], None]] = {
    driver.__name__: driver
    for driver in (hello, gcd, memory, multi_value, linking, wasi, host_functions)
}

if __name__ == "__main__":
    example = Path(sys.argv[1])
    DRIVERS[example.stem](modules_of(example))
