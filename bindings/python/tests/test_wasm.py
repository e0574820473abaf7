"""Looking into modules without compiling them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from wat import needs_kvm, wat

import husk

MODULE = """(module $named
    (import "env" "f" (func $f (param i32 f64) (result i64)))
    (import "env" "t" (table $t 2 5 funcref))
    (import "env" "m" (memory $m 1 2))
    (import "env" "g" (global $g (mut f32)))
    (import "env" "e" (tag $e (param i32)))
    (func $start) (start $start)
    (func $add (export "add") (param v128) (result v128) (local.get 0))
    (export "memory" (memory $m))
    (export "na\\u{ef}ve" (global $g))
    (data (i32.const 8) "some data")
    (elem (i32.const 0) $add))"""


@pytest.fixture(scope="module")
def module() -> bytes:
    return wat(MODULE, "--debug-names")


def test_is_wasm(module: bytes) -> None:
    assert husk.is_wasm(module)
    assert husk.is_wasm(bytearray(module))
    for other in (b"", b"\0as", b"\x7fELF", b"text"):
        assert not husk.is_wasm(other)


def test_validate(module: bytes) -> None:
    husk.validate(module)
    husk.validate(memoryview(module))
    with pytest.raises(husk.BadWasmError) as raised:
        husk.validate(module[:-3])
    assert raised.value.offset is not None
    with pytest.raises(husk.InvalidWasmError) as invalid:
        husk.validate(wat("(module (func (result i32)))", "--no-check"))
    assert invalid.value.offset
    with pytest.raises(husk.BadWasmError):
        husk.validate(b"")


def test_validate_takes_paths(module: bytes, tmp_path: Path) -> None:
    path = tmp_path / "module.wasm"
    path.write_bytes(module)
    husk.validate(path)
    husk.validate(str(path))
    with pytest.raises(FileNotFoundError):
        husk.validate(tmp_path / "none")
    for wrong in (None, 5, ["x"]):
        with pytest.raises(TypeError):
            husk.validate(wrong)  # type: ignore[arg-type]


def test_check(module: bytes) -> None:
    husk.check_wasm(module)
    with pytest.raises(husk.UnsupportedError, match="simd"):
        husk.check_wasm(module, disable=["simd"])
    with pytest.raises(husk.UnsupportedError, match="simd"):
        husk.check_wasm(module, disable="simd")
    with pytest.raises(husk.InvalidArgumentError):
        husk.check_wasm(module, disable=["no-such-feature"])
    with pytest.raises(TypeError, match="unknown option: disabel"):
        husk.check_wasm(module, disabel=["simd"])  # type: ignore[call-arg]


def test_describe(module: bytes) -> None:
    info = husk.describe(module)
    assert (info.funcs_count, info.tables_count, info.memories_count) == (3, 1, 1)
    assert (info.globals_count, info.tags_count, info.elems_count, info.datas_count) == (1, 1, 1, 1)
    assert info.types_count >= 4
    assert (info.customs_count, info.data_bytes) == (1, 9)
    assert info.code_bytes > 0
    assert info.has_start
    assert info.has_names
    assert info.uses_simd
    assert not info.has_dwarf
    assert info.module_name == "named"
    assert "simd" in info.features
    with pytest.raises(husk.BadWasmError):
        husk.describe(b"\0asm")


def test_a_module_with_lines() -> None:
    section = b"\x0b.debug_line" + b"\0\0"
    module = wat("(module)") + b"\0" + bytes([len(section)]) + section
    assert husk.describe(module).has_dwarf


def test_interface(module: bytes) -> None:
    interface = husk.interface(module)
    kinds = [(item.module, item.name, str(item.kind)) for item in interface.imports]
    names = ("func", "table", "memory", "global", "tag")
    assert kinds == [("env", n, k) for n, k in zip("ftmge", names, strict=True)]
    assert str(interface.imports[0].type) == "(i32 f64) -> (i64)"
    assert [item.name for item in interface.exports] == ["add", "memory", "na\u00efve"]
    with pytest.raises(husk.BadWasmError):
        husk.interface(module[:20])


@needs_kvm
def test_interface_tells_what_a_module_lacks(module: bytes) -> None:
    interface = husk.interface(module)
    imports = husk.Imports()
    with pytest.raises(husk.LinkError, match="env"):
        imports.match(interface.imports[0])
    imports.func("env", "f", lambda a, b: 1, params=["i32", "f64"], results=["i64"])
    imports.match(interface.imports[0])


def test_print(module: bytes) -> None:
    text = husk.print_wasm(module)
    assert "(module" in text
    assert "local.get" in text
    assert husk.print_wasm(wat("(module (func (result i32)))", "--no-check")) != ""
    with pytest.raises(husk.BadWasmError):
        husk.print_wasm(b"\0asm\1\0\0\0\xff")


def test_hostile_bytes(module: bytes) -> None:
    functions: list[Any] = [husk.validate, husk.describe, husk.interface, husk.print_wasm]
    for cut in range(0, len(module), 7):
        damaged = module[:cut] + b"\xff\xff" + module[cut + 2 :]
        for function in functions:
            try:
                function(damaged)
            except husk.Error as error:
                assert error.status in (-6, -7, -8, -9)
