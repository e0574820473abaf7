"""Tags: the kinds of a module's exceptions."""

from __future__ import annotations

from typing import Any

from husk._native import ffi
from husk.values import FuncType


class Tag:
    """The kind of an exception of a module, with the types of the values that it carries.

    module: of an import; None: it is an export, or has no name. idx: in the module, of the tag of
    an exception; None: it was looked up by its name.
    """

    __slots__ = ("idx", "module", "name", "tag", "type")

    def __init__(
        self,
        tag: Any,
        module: str | None,
        name: str,
        functype: FuncType,
        idx: int | None = None,
    ) -> None:
        self.tag = tag
        self.idx = idx
        self.module = module
        self.name = name
        self.type = functype

    def _key(self) -> tuple[int, int]:
        return (self.tag.opaque[0], self.tag.opaque[1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tag) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return (_tag_of, (self._key(), self.module, self.name, self.type, self.idx))

    def __str__(self) -> str:
        return f"{self.module}.{self.name}" if self.module is not None else self.name

    def __repr__(self) -> str:
        return f"<husk.Tag {self} {self.type}>"


def _tag_of(
    key: tuple[int, int], module: str | None, name: str, functype: FuncType, idx: int | None
) -> Tag:
    """For pickle."""
    return Tag(ffi.new("husk_tag *", [key])[0], module, name, functype, idx)
