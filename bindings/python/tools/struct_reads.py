"""A plugin of pytest for header_coverage.py: notes which fields of the library's structs are read.

    python -m pytest -p struct_reads …      with HUSK_TRACE_FILE set, and this folder in PYTHONPATH

When a module of husk is imported, each `value.name` in its source becomes a call that does the
same, and notes the name if the value is a struct of cffi. It must be loaded before husk is.
"""

from __future__ import annotations

import ast
import builtins
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any

from _cffi_backend import _CDataBase

READ, GET = "__husk_read__", "__husk_getattr__"
_noted: set[str] = set()


def _note(value: Any, name: str) -> None:
    from husk._native import ffi  # not before the package is imported

    kind = ffi.typeof(value)
    struct = kind.item if kind.kind == "pointer" else kind
    if struct.kind != "struct":
        return
    line = f"read {struct.cname.removeprefix('struct ')}.{name}\n"
    if line not in _noted:
        _noted.add(line)
        with open(os.environ["HUSK_TRACE_FILE"], "a", encoding="utf-8") as trace:
            trace.write(line)


def _read(value: Any, name: str) -> Any:
    result = getattr(value, name)
    if isinstance(value, _CDataBase):
        _note(value, name)
    return result


def _getattr(value: Any, name: str, *default: Any) -> Any:
    if isinstance(value, _CDataBase):
        _note(value, name)
    return getattr(value, name, *default)


class _Reads(ast.NodeTransformer):
    """Turns reads of attributes into calls. Annotations and patterns stay as they are."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load) or node.attr.startswith("__"):
            return node
        call = ast.Call(ast.Name(READ, ast.Load()), [node.value, ast.Constant(node.attr)], [])
        return ast.copy_location(call, node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.copy_location(ast.Name(GET, node.ctx), node) if node.id == "getattr" else node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        returns, node.returns = node.returns, None
        self.generic_visit(node)
        node.returns = returns
        return node

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:
        return node


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree = _Reads().visit(ast.parse(self.get_data(path), path))
        code = compile(ast.fix_missing_locations(tree), path, "exec")
        assert isinstance(code, CodeType)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "husk":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


assert "husk" not in sys.modules, "husk was imported before this plugin"
setattr(builtins, READ, _read)
setattr(builtins, GET, _getattr)
sys.meta_path.insert(0, _Finder())
