"""What an instance exports, by name or as attributes: sandbox.exports.add(1, 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from husk._fast import Function as Function
from husk.handles import Uncopied
from husk.image import ExternKind
from husk.memory import Global, Table, memory_of_export
from husk.tags import Tag
from husk.values import FuncType, Type

if TYPE_CHECKING:
    from husk.instance import Sandbox


class Exported(Uncopied, Mapping[str, Any]):
    """The exports of an instance: Function, Memory, Global, Table and Tag objects, by name."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def __getitem__(self, name: str) -> Any:
        sandbox = self._sandbox
        item = sandbox.image.exports[name]
        if item.kind is ExternKind.FUNC:
            assert isinstance(item.type, FuncType)
            return Function(sandbox.call, name, item.type)
        if item.kind is ExternKind.MEMORY:
            return memory_of_export(sandbox, item)
        if item.kind is ExternKind.GLOBAL:
            return Global(sandbox, item)
        if item.kind is ExternKind.TABLE:
            assert isinstance(item.type, Type)
            return Table(sandbox, sandbox.image.table_idx(name), item.type)
        tag: Tag = sandbox.image.tag(name)
        return tag

    def __getattr__(self, name: str) -> Any:
        try:
            found = self[name]
        except KeyError:
            raise AttributeError(f"the module exports no {name!r}") from None
        self.__dict__[name] = found  # looked up once: the sandbox makes a new object when it loads
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._sandbox.image.exports)

    def __len__(self) -> int:
        return len(self._sandbox.image.exports)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]
