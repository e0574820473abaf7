"""Images: compiled modules and snapshots."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from husk._native import ffi, lib
from husk._visit import Visitor
from husk.backtrace import Backtrace, backtrace_new, frames_of
from husk.engine import Engine, cpu_feature_names, default_engine
from husk.errors import (
    HypervisorLacksError,
    NoHypervisorError,
    StateError,
    check,
    error_new,
)
from husk.files import File, image_files
from husk.handles import Closing, c_name, c_path, new, owned, py_name
from husk.tags import Tag
from husk.values import ExternTable, FuncType, Type, functype_new, functype_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

PathLike = str | os.PathLike[str]


class ExternKind(enum.Enum):
    """What an import or an export is."""

    FUNC = lib.HUSK_EXTERN_FUNC
    TABLE = lib.HUSK_EXTERN_TABLE
    MEMORY = lib.HUSK_EXTERN_MEMORY
    GLOBAL = lib.HUSK_EXTERN_GLOBAL
    TAG = lib.HUSK_EXTERN_TAG

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Extern:
    """One import or export of a module, or a definition for husk.Imports.

    module: of imports; else None. idx: in the index space of its kind. type: of a function or tag
    a FuncType; of a global or table the Type of values; of a memory None. min, max: entries of a
    table, pages of 64 KiB of a memory; max is None if there is none.
    """

    module: str | None
    name: str
    kind: ExternKind
    type: FuncType | Type | None = None
    min: int = 0
    max: int | None = None
    idx: int = 0
    is_mutable: bool = False
    is_shared: bool = False
    is_64: bool = False


def extern_of(item: Any) -> Extern:
    """A struct husk_extern of the library."""
    kind = ExternKind(item.kind)
    functype: FuncType | Type | None = None
    if kind in (ExternKind.FUNC, ExternKind.TAG):
        functype = functype_of(item.func)
    elif kind in (ExternKind.TABLE, ExternKind.GLOBAL):
        functype = Type(item.type)
    return Extern(
        module=None if item.module == ffi.NULL else py_name(item.module, item.module_bytes),
        name=py_name(item.name, item.name_bytes),
        kind=kind,
        type=functype,
        min=item.min,
        max=item.max if item.has_max else None,
        idx=item.idx,
        is_mutable=item.is_mutable,
        is_shared=item.is_shared,
        is_64=item.is_64,
    )


def extern_new(item: Extern) -> tuple[Any, list[Any]]:
    """A struct husk_extern, and what it points to."""
    struct = new("husk_extern", kind=item.kind.value, idx=item.idx, min=item.min)
    kept: list[Any] = []
    for field, text in (("module", item.module), ("name", item.name)):
        if text is not None:
            raw = c_name(text, field)
            kept.append(ffi.new("char[]", raw))
            setattr(struct, field, kept[-1])
            setattr(struct, f"{field}_bytes", len(raw))
    if isinstance(item.type, FuncType):
        functype, arrays = functype_new(item.type)
        struct.func = functype[0]
        kept.append(arrays)
    elif item.type is not None:
        struct.type = int(item.type)
    struct.has_max = item.max is not None
    struct.max = item.max or 0
    struct.is_mutable, struct.is_shared, struct.is_64 = (
        item.is_mutable,
        item.is_shared,
        item.is_64,
    )
    return struct, kept


class Exports(Mapping[str, Extern]):
    """The imports or exports of a module, in its order. Exports can be looked up by their names."""

    def __init__(self, items: list[Extern]) -> None:
        self._items = tuple(items)
        self._by_name = {item.name: item for item in items}

    def __getitem__(self, name: str) -> Extern:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def list(self, kind: ExternKind | None = None) -> tuple[Extern, ...]:
        """All of them, or those of one kind, in the module's order."""
        return tuple(item for item in self._items if kind is None or item.kind is kind)


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image holds; the fields are those of struct husk_image_info."""

    target_cpu: str
    compiler: str
    module_name: str
    cpu_features: frozenset[str]
    wasm_sha256: bytes
    opt_level: int
    text_bytes: int
    rodata_bytes: int
    data_bytes: int
    memory_bytes: int
    functions_count: int
    types_count: int
    memories_count: int
    tables_count: int
    globals_count: int
    needs_init: bool
    has_lines: bool
    is_strict: bool
    memory_pages: int
    table_entries: int
    instances_count: int
    files_bytes: int
    tags_count: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The call that stands at a host function in a snapshot.

    func, type: the function that was called; Image.names_of() gives its names. module, name,
    host_type: the host function. stack_bytes: used of its stack.
    """

    func: Any
    type: FuncType
    module: str
    name: str
    host_type: FuncType
    stack_bytes: int


class Image(Closing):
    """A compiled module, or a snapshot: immutable, and shared by any number of sandboxes.

    Made by husk.compile(), Image.open() and Sandbox.snapshot(). Any thread may use it.
    """

    def __init__(self, pointer: Any, engine: Engine | None) -> None:
        # For the package: pointer is a husk_image * that becomes this object's.
        self._pointer = owned(pointer, "husk_image_unref")
        self._engine = engine
        self._engine_error: Exception | None = None
        self.externs = ExternTable()
        self._exports: list[Exports] = []  # once they were looked for; of all copies
        self._standing: tuple[Standing | None] | None = None  # once it was looked for

    @classmethod
    def open(
        cls,
        source: PathLike | int | Buffer,
        *,
        engine: Engine | None = None,
        examine: bool = False,
        skips_hash: bool = False,
        uses_file: bool = False,
        serves_once: bool = False,
    ) -> Image:
        """Open an image or snapshot: a path, a descriptor, or its bytes. It may come from anyone.

        engine: default husk.default_engine(). examine: without an engine, so also where there is no
        KVM; no sandbox can be made before set_engine(). skips_hash: do not look for damage.
        uses_file: map the file itself, which nobody may change. serves_once: the first sandbox
        takes the contents over; faster for a program that runs the image once.

        Raises BadImageError, ImageVersionError, CpuError, SystemCallError, OutOfMemoryError.
        """
        options = new(
            "husk_open_options",
            skips_hash=skips_hash,
            uses_file=uses_file,
            serves_once=serves_once,
        )
        chosen, problem = (None, None) if examine else _engine_or_problem(engine)
        pointer = ffi.NULL if chosen is None else chosen.pointer
        out = ffi.new("husk_image **")
        err = error_new()
        if isinstance(source, int):
            status = lib.husk_image_open_fd(pointer, source, options, out, err)
        elif isinstance(source, (str, os.PathLike)):
            status = lib.husk_image_open(pointer, c_path(source), options, out, err)
        else:
            with memoryview(source) as view, ffi.from_buffer(view) as raw:
                status = lib.husk_image_open_buffer(pointer, (raw, len(raw)), options, out, err)
        check(status, err)
        image = cls(out[0], chosen)
        image._engine_error = problem
        return image

    @property
    def pointer(self) -> Any:
        """The library's handle."""
        if self._pointer is None:
            raise StateError("the image is closed")
        return self._pointer

    def close(self) -> None:
        """Let the image go. Its sandboxes and snapshots stay as they are."""
        self._pointer = None

    @property
    def engine(self) -> Engine | None:
        """The engine that sandboxes of this image use; None: it is only examined."""
        return self._engine

    def set_engine(self, engine: Engine | None = None) -> None:
        """Give an engine to an image that was opened without one. No other thread may use the image
        meanwhile. Raises CpuError; InvalidArgumentError if it has an engine."""
        chosen = default_engine() if engine is None else engine
        err = error_new()
        check(lib.husk_image_set_engine(self.pointer, chosen.pointer, err), err)
        self._engine = chosen

    def engine_for_sandbox(self) -> Engine:
        """The engine, or the reason why there is none."""
        if self._engine is None:
            if self._engine_error is None:
                raise NoHypervisorError("the image is only examined: see Image.set_engine()")
            raise self._engine_error
        return self._engine

    # ---- Looking into it ----

    @property
    def imports(self) -> tuple[Extern, ...]:
        """What the module needs, in its order."""
        return tuple(
            self._extern(lib.husk_image_import, i)
            for i in range(lib.husk_image_imports_count(self.pointer))
        )

    @property
    def exports(self) -> Exports:
        """What the module gives, in its order, by name."""
        if not self._exports:
            count = lib.husk_image_exports_count(self.pointer)
            self._exports.append(
                Exports([self._extern(lib.husk_image_export, i) for i in range(count)])
            )
        return self._exports[0]

    def _extern(self, get: Callable[[Any, int, Any], int], i: int) -> Extern:
        item = new("husk_extern")
        check(get(self.pointer, i, item))
        return extern_of(item)

    @property
    def info(self) -> ImageInfo:
        """Sizes, counts, and how it was compiled."""
        info = new("husk_image_info")
        check(lib.husk_image_info(self.pointer, info))
        fields: dict[str, Any] = {}
        for name in ImageInfo.__slots__:
            fields[name] = getattr(info, name)
        for name in ("target_cpu", "compiler", "module_name"):
            fields[name] = ffi.string(fields[name]).decode("utf-8", "replace")
        fields["wasm_sha256"] = bytes(info.wasm_sha256)
        fields["cpu_features"] = cpu_feature_names(info.cpu_features)
        return ImageInfo(**fields)

    def func_type(self, name: str) -> FuncType:
        """The type of an exported function. Raises NotFoundError."""
        return functype_of(self.func(name)[1])

    def func(self, name: str) -> tuple[Any, Any]:
        """The library's husk_func and struct husk_functype of an exported function."""
        raw = c_name(name)
        err = error_new()
        func = ffi.new("husk_func *")
        check(lib.husk_image_func(self.pointer, raw, len(raw), func, err), err)
        return func[0], self.functype(func[0])

    def functype(self, func: Any) -> Any:
        """The library's struct husk_functype of a husk_func of this module."""
        functype = ffi.new("struct husk_functype *")
        err = error_new()
        check(lib.husk_image_func_type(self.pointer, func, functype, err), err)
        return functype

    def names_of(self, func: Any) -> tuple[str, ...]:
        """The names under which a function of the module is exported; func as in Standing."""
        wanted = (func.opaque[0], func.opaque[1])
        found = []
        for item in self.exports.list(ExternKind.FUNC):
            each = self.func(item.name)[0]
            if (each.opaque[0], each.opaque[1]) == wanted:
                found.append(item.name)
        return tuple(found)

    def table_idx(self, name: str) -> int:
        """The index of an exported table. Raises NotFoundError."""
        raw = c_name(name)
        out = ffi.new("uint32_t *")
        err = error_new()
        check(lib.husk_image_table(self.pointer, raw, len(raw), out, err), err)
        return int(out[0])

    def tag(self, name: str) -> Tag:
        """An exported tag. Raises NotFoundError."""
        raw = c_name(name)
        out = ffi.new("husk_tag *")
        err = error_new()
        check(lib.husk_image_tag(self.pointer, raw, len(raw), out, err), err)
        return self._tag(out[0], None, name)

    def import_tag(self, module: str, name: str) -> Tag:
        """An imported tag. Raises NotFoundError."""
        item, _kept = extern_new(Extern(module, name, ExternKind.TAG))
        out = ffi.new("husk_tag *")
        err = error_new()
        check(lib.husk_image_import_tag(self.pointer, item, out, err), err)
        return self._tag(out[0], module, name)

    def _tag(self, tag: Any, module: str | None, name: str) -> Tag:
        functype = ffi.new("struct husk_functype *")
        err = error_new()
        check(lib.husk_image_tag_type(self.pointer, tag, functype, err), err)
        return Tag(tag, module, name, functype_of(functype))

    def check(self) -> None:
        """Check what opening leaves for later: the rows that backtraces are made of, and the names
        of functions. Without it, a bad one makes the backtrace, or the saving of a snapshot, fail,
        and nothing else. Takes some 10 ns for each row. Raises BadImageError."""
        err = error_new()
        check(lib.husk_image_check(self.pointer, err), err)

    # ---- Files ----

    def save(self, target: PathLike | int) -> None:
        """Write the image to a file, which appears durably and at once; or to a descriptor, from
        its position on, without a sync. Whoever may read it can read the guest's memory.

        Raises SystemCallError (errno ENOSPC, …), InvalidArgumentError (the path is a device, a pipe
        or a symbolic link), LimitError, OutOfMemoryError.
        """
        err = error_new()
        if isinstance(target, int):
            check(lib.husk_image_save_fd(self.pointer, target, err), err)
        else:
            check(lib.husk_image_save(self.pointer, c_path(target), err), err)

    def save_to(self, write: Callable[[bytes], object]) -> None:
        """Pass the same bytes to a function, at most 1 MiB at once. What it raises ends it."""
        err = error_new()
        with Visitor(write) as visitor:
            status = lib.husk_image_save_to(self.pointer, lib.husk_py_write, visitor.user, err)
            check(status, err)

    def to_bytes(self) -> bytes:
        """The bytes of the file. Also `bytes(image)`."""
        pieces: list[bytes] = []
        self.save_to(pieces.append)
        return b"".join(pieces)

    def __bytes__(self) -> bytes:
        return self.to_bytes()

    def share(self) -> int:
        """A new descriptor of the image for other processes: a sealed file in memory. Pass it on,
        by inheritance (`subprocess`: `pass_fds`) or by a socket (`socket.send_fds()`), and open it
        there with Image.open(), which copies nothing: all processes have one copy of what they do
        not write. It is not inherited unless you pass it on; os.close() is yours.

        Whoever gets it can read all that the guest had in its memory, and change nothing. Of a
        snapshot that was taken here, or an image opened with uses_file, a file is made now, which
        takes as much memory as they contain. If you trust the process that it came from,
        Image.open(…, skips_hash=True) is faster: no disk was between.

        Raises SystemCallError, OutOfMemoryError, LimitError; StateError (serves_once).
        """
        out = ffi.new("int *")
        err = error_new()
        check(lib.husk_image_share(self.pointer, out, err), err)
        return int(out[0])

    # ---- Snapshots ----

    @property
    def is_snapshot(self) -> bool:
        """Whether it was taken from a sandbox."""
        return bool(lib.husk_image_is_snapshot(self.pointer))

    @property
    def note(self) -> bytes | None:
        """Your own bytes in a snapshot, up to 1 MiB; None: it has none. Set it before anybody else
        uses the snapshot. Raises InvalidArgumentError (no snapshot, or an opened one)."""
        count = ffi.new("size_t *")
        pointer = lib.husk_image_note(self.pointer, count)
        return None if pointer == ffi.NULL else bytes(ffi.buffer(pointer, count[0]))

    @note.setter
    def note(self, note: Buffer | None) -> None:
        err = error_new()
        raw = b"" if note is None else bytes(note)
        check(lib.husk_image_set_note(self.pointer, raw, len(raw), err), err)

    @property
    def standing(self) -> Standing | None:
        """The call that stands at a host function in the snapshot, or None."""
        if self._standing is None:
            self._standing = (self._look_for_standing(),)
        return self._standing[0]

    def _look_for_standing(self) -> Standing | None:
        standing = new("husk_standing")
        err = error_new()
        status = lib.husk_image_standing(self.pointer, standing, err)
        if status == lib.HUSK_E_NOT_FOUND:
            return None
        check(status, err)
        return Standing(
            func=ffi.new("husk_func *", standing.func)[0],  # standing ends here
            type=functype_of(standing.type),
            module=py_name(standing.module, standing.module_bytes),
            name=py_name(standing.name, standing.name_bytes),
            host_type=functype_of(standing.host_type),
            stack_bytes=standing.stack_bytes,
        )

    @property
    def backtrace(self) -> Backtrace:
        """The frames of the call that stands in the snapshot."""
        backtrace = backtrace_new()
        err = error_new()
        check(lib.husk_image_backtrace(self.pointer, backtrace, err), err)
        return frames_of(backtrace)

    def files(self) -> list[File]:
        """What the guest wrote into private directories (kinds "mem" and "cow" of husk.Dir), in a
        snapshot: each directory before its entries. Raises SystemCallError, OutOfMemoryError."""
        return image_files(self.pointer)

    def __copy__(self) -> Image:
        copy = type(self).__new__(type(self))
        copy.__dict__.update(self.__dict__)
        copy._pointer = owned(lib.husk_image_ref(self.pointer), "husk_image_unref")
        return copy

    def __repr__(self) -> str:
        if self._pointer is None:
            return "<husk.Image closed>"
        kind = "Snapshot" if self.is_snapshot else "Image"
        return f"<husk.{kind} {self.info.module_name or self.info.wasm_sha256.hex()[:12]}>"


class Snapshot(Image):
    """An image that was taken from a sandbox. Every function that takes an image takes it.

    pending_args: the arguments of the host function at which its call stands.
    """

    pending_args: tuple[Any, ...] = ()


def _engine_or_problem(engine: Engine | None) -> tuple[Engine | None, Exception | None]:
    """The engine to use. Without KVM: none, and the reason, for whoever makes a sandbox."""
    if engine is not None:
        return engine, None
    try:
        return default_engine(), None
    except (NoHypervisorError, HypervisorLacksError) as problem:
        return None, problem
