"""Options of sandboxes, and VMs that are made ahead for them."""

from __future__ import annotations

from typing import Any, Literal

from husk._convert import number, text
from husk._native import ffi, lib
from husk.errors import check, error_new
from husk.handles import new
from husk.image import Image
from husk.imports import Imports

_LARGE_PAGES = {
    "auto": lib.HUSK_LARGE_PAGES_AUTO,
    "always": lib.HUSK_LARGE_PAGES_ALWAYS,
    "never": lib.HUSK_LARGE_PAGES_NEVER,
    "contents": lib.HUSK_LARGE_PAGES_CONTENTS,
}
LargePages = Literal["auto", "always", "never", "contents"]


def sandbox_options(
    memory_max: int,
    table_max: int,
    stack: int,
    host_call_depth: int,
    large_pages: LargePages,
    label: str | None,
) -> tuple[Any, Any]:
    """A struct husk_sandbox_options, and what it points to."""
    if large_pages not in _LARGE_PAGES:
        raise ValueError(f"large_pages must be one of {', '.join(_LARGE_PAGES)}")
    options = new(
        "husk_sandbox_options",
        memory_max_bytes=memory_max,
        table_max_entries=table_max,
        stack_bytes=stack,
        host_call_depth_max=host_call_depth,
        large_pages=_LARGE_PAGES[large_pages],
    )
    label_text = ffi.NULL if label is None else ffi.new("char[]", text(label, "label"))
    options.label = label_text
    return options, label_text


def prepare(
    image: Image,
    count: int,
    imports: Imports | None = None,
    *,
    memory_max: int = 0,
    table_max: int = 0,
    stack: int = 0,
    host_call_depth: int = 0,
    large_pages: LargePages = "auto",
) -> None:
    """Keep `count` VMs ready for new sandboxes of an image, which a thread of the library makes.

    imports and the other arguments are those of the sandboxes. Such a sandbox costs little more
    than its first call. A later call for the same image and limits changes the count; 0 ends it.

    Raises LimitError (more than 1024 VMs, or more than 64 images), StateError (an image that serves
    once), and as husk.Sandbox().
    """
    options, _label = sandbox_options(
        memory_max, table_max, stack, host_call_depth, large_pages, None
    )
    image.engine_for_sandbox()
    theirs = ffi.NULL if imports is None else imports.pointer
    count, err = number(count, "count", 2**32 - 1), error_new()
    check(lib.husk_sandbox_prepare(image.pointer, theirs, options, count, err), err)
