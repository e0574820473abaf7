"""Several modules in one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Unpack

from husk._convert import text
from husk._native import ffi, lib
from husk.cache import cache_folder, finish
from husk.compiler import CompileOptions, Options, wasm_bytes
from husk.errors import error_new
from husk.handles import new
from husk.image import Image, PathLike

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from husk.engine import Engine

__all__ = ["Module", "compile_linked"]


@dataclass(frozen=True)
class Module:
    """An instance in a linked image.

    `aliases` says which exports satisfy imports: `{("env", "log"): ("logger", "write")}` gives
    the import "log" of "env" the export "write" of the earlier module "logger".
    """

    name: str
    wasm: Buffer | PathLike
    aliases: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)


def _text(value: str, name: str, keep: list[Any]) -> Any:
    array = ffi.new("char[]", text(value, name))
    keep.append(array)
    return array


def _fill_aliases(row: Any, module: Module, keep: list[Any]) -> None:
    array = ffi.new("struct husk_alias[]", len(module.aliases))
    keep.append(array)
    for alias, (wanted, given) in zip(array, module.aliases.items(), strict=True):
        for pair in (wanted, given):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError("aliases must map (module, name) to (instance, export)")
        alias.module = _text(wanted[0], "an alias", keep)
        alias.name = _text(wanted[1], "an alias", keep)
        alias.instance = _text(given[0], "an alias", keep)
        alias.export_name = _text(given[1], "an alias", keep)
    row.aliases, row.aliases_count = array, len(module.aliases)


def _make_rows(modules: Sequence[Module], keep: list[Any]) -> Any:
    rows = ffi.new("struct husk_module[]", len(modules))
    for row, module in zip(rows, modules, strict=True):
        if not isinstance(module, Module):
            raise TypeError(f"modules must be of husk.Module, not {type(module).__name__}")
        data = wasm_bytes(module.wasm)
        row.name = _text(module.name, "Module.name", keep)
        wasm = ffi.from_buffer(data)
        keep.append(wasm)
        row.wasm, row.count = wasm, len(data)
        _fill_aliases(row, module, keep)
    return rows


def compile_linked(
    modules: Sequence[Module],
    *,
    cache: PathLike | bool | None = None,
    engine: Engine | None = None,
    **options: Unpack[CompileOptions],
) -> Image:
    """Instantiate modules in this order, and link them to one image.

    An import of a module is, in this order: what its alias says; the export of that name of the
    earlier module whose name is the import's module; an import of the image. The last module is
    the main one: its exports keep their names, those of the others are "instance/export".

    `cache` and `options` are those of husk.compile. Raises husk.LinkError if
    an import and its export do not match.
    """
    modules = list(modules)
    keep: list[Any] = []
    rows = _make_rows(modules, keep)
    folder = None if cache is None or cache is False else cache_folder(cache)
    given = Options(options, cache=folder)
    compiled, err = new("husk_compiled"), error_new()
    if folder is None:
        status = lib.husk_compile_linked(
            rows, len(modules), given.struct, ffi.addressof(compiled, "fd"), err
        )
    else:
        status = lib.husk_compile_linked_cached(rows, len(modules), given.struct, compiled, err)
    return finish(given, status, err, compiled, engine).image
