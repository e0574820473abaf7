"""Look into WebAssembly modules without compiling them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from husk._native import ffi, lib
from husk._visit import Visitor
from husk.compiler import CompileOptions, Options, wasm_bytes
from husk.errors import check, error_new
from husk.handles import new
from husk.image import Extern, PathLike, extern_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Interface",
    "WasmInfo",
    "check_wasm",
    "describe",
    "interface",
    "is_wasm",
    "print_wasm",
    "validate",
]


def is_wasm(data: Buffer) -> bool:
    r"""Tell whether bytes start with "\\0asm", as a wasm binary does."""
    head = bytes(memoryview(data)[:8])
    return bool(lib.husk_is_wasm(head, len(head)))


def validate(wasm: Buffer | PathLike) -> None:
    """Decode and validate a module.

    A valid module may use more than husk.compile supports; see check_wasm().

    Raises husk.BadWasmError, husk.InvalidWasmError, husk.UnsupportedError or
    husk.LimitError, whose `offset` is the place in the module.
    """
    data = wasm_bytes(wasm)
    err = error_new()
    check(lib.husk_validate(data, len(data), err), err)


def check_wasm(wasm: Buffer | PathLike, **options: Unpack[CompileOptions]) -> None:
    """Check that husk.compile would take a module: validate it, and look at its features.

    `options` are those of husk.compile, such as `disable`. Raises what
    validate() raises. husk.UnsupportedError names all that is missing.
    """
    data = wasm_bytes(wasm)
    given, err = Options(options), error_new()
    check(lib.husk_compile_check(data, len(data), given.struct, err), err)


@dataclass(frozen=True)
class WasmInfo:
    """What a module has. Counts include imported ones."""

    types_count: int
    funcs_count: int
    tables_count: int
    memories_count: int
    globals_count: int
    tags_count: int
    elems_count: int
    datas_count: int
    customs_count: int
    code_bytes: int
    """Of function bodies."""
    data_bytes: int
    """Of data segments."""
    has_start: bool
    has_names: bool
    """Some function has a name in the name section."""
    has_dwarf: bool
    """Backtraces can name source lines."""
    uses_simd: bool
    module_name: str
    """From the name section, cut to fit; or empty."""
    features: frozenset[str]
    """Those that it uses, by the names of `disable` of husk.compile."""


def describe(wasm: Buffer | PathLike) -> WasmInfo:
    """Decode and validate a module, and count what it has. Raises what validate() does."""
    data = wasm_bytes(wasm)
    info = new("husk_wasm_info")
    err = error_new()
    check(lib.husk_wasm_describe(data, len(data), info, err), err)
    texts = ("module_name", "features")
    values = {n: getattr(info, n) for n in WasmInfo.__dataclass_fields__ if n not in texts}
    return WasmInfo(
        **values,
        module_name=ffi.string(info.module_name).decode("utf-8", "replace"),
        features=frozenset(ffi.string(info.features).decode().split()),
    )


@dataclass(frozen=True)
class Interface:
    """The imports and exports of a module, in its order."""

    imports: tuple[Extern, ...]
    exports: tuple[Extern, ...]


@ffi.def_extern()  # type: ignore[untyped-decorator]
def husk_py_extern(user: Any, is_import: bool, item: Any) -> None:
    """Pass an import or export on to the visitor."""
    Visitor.of(user)((is_import, item))


def interface(wasm: Buffer | PathLike) -> Interface:
    """List a module's imports and exports. Function bodies are not looked at.

    With husk.Imports.match it tells what a module lacks before it is compiled.
    """
    data = wasm_bytes(wasm)
    sides: tuple[list[Extern], list[Extern]] = ([], [])
    err = error_new()
    # The item is valid during the call only, so it is copied there.
    with Visitor(lambda pair: sides[not pair[0]].append(extern_of(pair[1]))) as visitor:
        status = lib.husk_wasm_interface(data, len(data), lib.husk_py_extern, visitor.user, err)
        check(status, err)
    return Interface(tuple(sides[0]), tuple(sides[1]))


def print_wasm(wasm: Buffer | PathLike) -> str:
    """Write a module as text, close to the text format, with the byte offset of each instruction.

    The module must be well-formed, but need not be valid.
    """
    data = wasm_bytes(wasm)
    pieces: list[bytes] = []
    err = error_new()
    with Visitor(pieces.append) as visitor:
        status = lib.husk_wasm_print(data, len(data), lib.husk_py_write, visitor.user, err)
        check(status, err)
    return b"".join(pieces).decode("utf-8", "replace")
