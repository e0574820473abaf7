"""Several modules in one image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from wat import needs_kvm, wat

import husk

pytestmark = needs_kvm

MATH = """(module (memory (export "memory") 1)
    (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2))))"""
MAIN = """(module (import "math" "double" (func $d (param i32) (result i32)))
    (func (export "run") (param i32) (result i32) (call $d (local.get 0))))"""


def test_a_module_uses_another_ones_export() -> None:
    image = husk.compile_linked([husk.Module("math", wat(MATH)), husk.Module("main", wat(MAIN))])
    assert image.info.instances_count == 2
    sandbox = husk.Sandbox(image)
    assert sandbox.call("run", 21) == 42
    assert sandbox.call("math/double", 4) == 8


def test_aliases() -> None:
    other = MAIN.replace('"math" "double"', '"env" "twice"')
    modules = [
        husk.Module("math", wat(MATH)),
        husk.Module("main", wat(other), {("env", "twice"): ("math", "double")}),
    ]
    assert husk.Sandbox(husk.compile_linked(modules, level=0)).call("run", 5) == 10


def test_a_host_function_works_on_the_memory_of_its_module() -> None:
    with_memory = """(module (import "env" "note" (func $note)) (memory (export "memory") 1)
        (data (i32.const 0) "{n}") (func (export "go{n}") (call $note)))"""
    modules = [husk.Module(f"m{n}", wat(with_memory.format(n=n))) for n in "123"]
    image = husk.compile_linked(modules, level=0)
    imports = husk.Imports()
    seen: list[bytes] = []

    @imports.function("env")
    def note(caller: husk.Caller) -> None:
        seen.append(caller.memory.read(0, 1))

    sandbox = husk.Sandbox(image, imports)
    for name in ("m1/go1", "m2/go2", "go3"):
        sandbox.call(name)
    assert seen == [b"1", b"2", b"3"]


def test_a_trap_of_linking() -> None:
    log = '(module (memory (export "m") 1))'
    grow = """(module (import "log" "m" (memory 1)) (start 0)
        (func (drop (memory.grow (i32.const {pages})))))"""
    large = """(module (import "log" "m" (memory 3)) (data (i32.const 180000) "x")
        (func (export "f")))"""
    for pages in (2, 1):
        texts = {"log": log, "grow": grow.format(pages=pages), "large": large}
        image = husk.compile_linked([husk.Module(n, wat(t)) for n, t in texts.items()], level=0)
        if pages == 2:
            husk.Sandbox(image).call("f")
            continue
        with pytest.raises(husk.Trap) as raised:
            husk.Sandbox(image).call("f")
        assert raised.value.trap == husk.TrapKind.LINK


def test_through_a_cache(tmp_path: Path) -> None:
    modules = [husk.Module("math", wat(MATH)), husk.Module("main", wat(MAIN))]
    for _ in range(2):
        image = husk.compile_linked(modules, cache=tmp_path)
        assert husk.Sandbox(image).call("run", 1) == 2
    assert husk.Cache(tmp_path).info().images_count == 1


@pytest.mark.parametrize(
    ("modules", "error"),
    [
        ([], husk.InvalidArgumentError),
        ([("main", MAIN)] * 2, husk.InvalidArgumentError),
        ([("", MATH)], husk.InvalidArgumentError),
        ([("main", '(module (import "math" "double" (func)))')], None),
        ([("math", MATH), ("main", '(module (import "math" "double" (func)))')], husk.LinkError),
        ([("a\0b", MATH)], ValueError),
    ],
)
def test_what_does_not_fit(modules: list[tuple[str, str]], error: Any) -> None:
    rows = [husk.Module(name, wat(text)) for name, text in modules]
    if error is None:
        husk.compile_linked(rows, level=0)
        return
    with pytest.raises(error):
        husk.compile_linked(rows, level=0)


def test_wrong_types() -> None:
    with pytest.raises(TypeError):
        husk.compile_linked([MATH])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        husk.compile_linked([husk.Module("m", 5)])  # type: ignore[arg-type]
    alias: Any = {"env": ("math", "double")}
    with pytest.raises(TypeError):
        husk.compile_linked([husk.Module("m", wat(MATH), alias)])
    with pytest.raises(husk.LinkError):
        husk.compile_linked([husk.Module("m", wat(MAIN), {("math", "double"): ("no", "no")})])
