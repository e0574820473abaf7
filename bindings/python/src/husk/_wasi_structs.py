"""Makes the structs of husk_wasi.h and of husk_imports_wasi() from the classes of wasi.py.

Each function adds to `keep` what must outlive the call of the library: buffers of cffi, file
objects (the library borrows their descriptors), handles of callbacks.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from husk._convert import number, text
from husk._native import ffi, lib
from husk.handles import new
from husk.wasi import (
    AWAITED,
    UNCHANGED,
    Buffer,
    Callback,
    Descriptor,
    Dir,
    DirKind,
    FixedClock,
    HasFileno,
    HostClock,
    Listener,
    Rights,
    Wasi,
)

_STDIN, _STDOUT, _STDERR = range(3)
_NAMES = ("stdin", "stdout", "stderr")


def descriptor(file: object, name: str, keep: list[Any]) -> int:
    """Get the descriptor of a file object, which is kept, or check that of a number."""
    if isinstance(file, HasFileno):
        keep.append(file)
        _settle(file)
        file = file.fileno()
    return number(file, f"{name}: a descriptor", 2**31 - 1)


def _settle(file: Any) -> None:
    """Give the descriptor the file object's position: what Python has buffered comes before what
    the guest writes, and what Python has read ahead of its user is there for the guest."""
    flush = getattr(file, "flush", None)
    if flush is not None and not getattr(file, "closed", False):
        flush()
    if not isinstance(file, io.IOBase) or not file.readable() or not file.seekable():
        return
    with suppress(OSError):  # a text file that is iterated over does not know its position
        position = file.tell()
        is_plain = position < 2**63  # without the state of a decoder in it
        if is_plain and position != os.lseek(file.fileno(), 0, os.SEEK_CUR):
            file.seek(0, os.SEEK_END)  # forgets what was read ahead
            file.seek(position)


# ---- Streams ----


def _has_descriptor(stream: object) -> bool:
    """Whether a descriptor has the bytes of the stream. That of gzip.open() has other bytes."""
    while isinstance(stream, io.TextIOWrapper):
        stream = stream.buffer
    if isinstance(stream, (io.BufferedReader, io.BufferedWriter, io.BufferedRandom)):
        stream = stream.raw
    if isinstance(stream, io.BufferedIOBase) or not isinstance(stream, HasFileno):
        return False
    try:
        stream.fileno()
    except io.UnsupportedOperation:  # io.BytesIO has the method, and no descriptor
        return False
    return True


def _callback_of(stream: Any, which: int) -> Callback:
    """Make a callback of a function, or of a file object without a descriptor."""
    if isinstance(stream, io.TextIOBase):
        binary = getattr(stream, "buffer", None)
        if binary is None:
            raise TypeError(f"{_NAMES[which]}: a text file without a descriptor; give a binary one")
        stream = binary
    function: Any = getattr(stream, "read" if which == _STDIN else "write", stream)
    if not callable(function):
        raise TypeError(f"{_NAMES[which]} cannot be a {type(stream).__name__}")
    use: Any = function
    return Callback(read=use) if which == _STDIN else Callback(write=use)


def normal_stream(given: Any, which: int) -> Any:
    """Turn whatever a user may give into None, bytes, AWAITED or one of the classes of wasi.py."""
    stream: Any = given
    if isinstance(stream, bool):
        raise TypeError(f"{_NAMES[which]} cannot be a bool")
    if isinstance(stream, str):
        stream = stream.encode()
    if isinstance(stream, (bytearray, memoryview)):
        stream = bytes(stream)
    is_input = isinstance(stream, bytes) or stream is AWAITED
    if is_input and which != _STDIN:
        raise TypeError(f"{_NAMES[which]} cannot be given as input; give husk.BUFFER or a file")
    if isinstance(stream, Buffer) and which == _STDIN:
        raise TypeError("stdin cannot be a Buffer; give bytes")
    if stream is None or is_input or isinstance(stream, (Descriptor, Buffer, Callback)):
        return stream
    if isinstance(given, int) or _has_descriptor(given):
        return Descriptor(given)
    return _callback_of(stream, which)


def _fill_descriptor(struct: Any, stream: Descriptor, which: int, keep: list[Any]) -> None:
    struct.kind = lib.HUSK_WASI_DESCRIPTOR
    struct.fd = descriptor(stream.file, _NAMES[which], keep)
    struct.rights = stream_rights(stream, which)


def stream_rights(stream: Descriptor, which: int) -> int:
    """Give the rights of a descriptor; the default is what the stream is for."""
    if stream.rights is None:
        return Rights.READ if which == _STDIN else Rights.WRITE
    return number(stream.rights, f"{_NAMES[which]}: rights", 15)


def make_stream(stream: Any, which: int, keep: list[Any]) -> Any:
    """Make a struct husk_wasi_stream."""
    stream = normal_stream(stream, which)
    struct = new("husk_wasi_stream")
    keep.append(struct)
    if isinstance(stream, bytes):
        struct.kind = lib.HUSK_WASI_BYTES
        data = ffi.from_buffer(stream)
        keep.append(data)
        struct.bytes, struct.bytes_count = data, len(stream)
    elif isinstance(stream, Descriptor):
        _fill_descriptor(struct, stream, which, keep)
    elif isinstance(stream, Buffer):
        struct.kind = lib.HUSK_WASI_BUFFER
        struct.limit_bytes = number(stream.limit, "Buffer.limit")
    elif isinstance(stream, Callback):
        _fill_callback(struct, stream, keep)
    else:
        struct.kind = lib.HUSK_WASI_AWAITED if stream is AWAITED else lib.HUSK_WASI_CLOSED
    return struct


def _fill_callback(struct: Any, stream: Callback, keep: list[Any]) -> None:
    for function in (stream.read, stream.write):
        if function is not None and not callable(function):
            raise TypeError(f"Callback: a {type(function).__name__} cannot be called")
    struct.kind = lib.HUSK_WASI_CALLBACK
    handle = ffi.new_handle(stream)
    keep.append(handle)
    struct.user = handle
    if stream.read is not None:
        struct.read = lib.husk_py_stream_read
    if stream.write is not None:
        struct.write = lib.husk_py_stream_write


# ---- Arguments, environment, clock ----


def make_strings(values: Iterable[str | bytes], name: str, keep: list[Any]) -> tuple[Any, int]:
    """Make an array of C strings, and its length."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name} must be a sequence of strings, not one string")
    strings = [ffi.new("char[]", text(value, name)) for value in values]
    array = ffi.new("char *[]", strings)
    keep += [strings, array]
    return array, len(strings)


def env_strings(env: Mapping[str, str] | Iterable[str | bytes]) -> list[str | bytes]:
    """Make strings "NAME=value" of a mapping."""
    if not isinstance(env, Mapping):
        if isinstance(env, (str, bytes)):
            raise TypeError("env must be a mapping or a sequence of strings, not one string")
        return list(env)
    for name in env:
        if not isinstance(name, str) or not isinstance(env[name], str):
            raise TypeError("env: names and values must be str")
        if "=" in name or name == "":
            raise ValueError(f"env: {name!r} cannot be a name")
    return [f"{name}={value}" for name, value in env.items()]


def make_clock(clock: HostClock | FixedClock, keep: list[Any]) -> Any:
    """Make a struct husk_wasi_clock."""
    struct = new("husk_wasi_clock")
    keep.append(struct)
    if isinstance(clock, FixedClock):
        struct.kind = lib.HUSK_WASI_CLOCK_FIXED
        struct.realtime_ns = number(clock.realtime_ns, "FixedClock.realtime_ns")
        struct.step_ns = number(clock.step_ns, "FixedClock.step_ns")
    elif not isinstance(clock, HostClock):
        raise TypeError(f"clock must be HostClock or FixedClock, not {type(clock).__name__}")
    return struct


def seed_number(seed: int | None) -> int:
    """Check a seed; 0 means the kernel to C."""
    if seed is None:
        return 0
    if number(seed, "random_seed") == 0:
        raise ValueError("random_seed must not be 0; None takes random numbers from the kernel")
    return seed


# ---- struct husk_wasi_request ----


def make_request(parts: Mapping[str, Any], kept: dict[str, list[Any]]) -> Any:
    """Make a struct husk_wasi_request of the parts that are not UNCHANGED.

    `kept` gets what must live as long as each of these parts, by its name, and the request.
    """
    given = {name: part for name, part in parts.items() if part is not UNCHANGED}
    kept.update((name, []) for name in given)
    request = new("husk_wasi_request")
    kept["request"] = [request]
    for which, name in enumerate(_NAMES):
        if name in given:
            setattr(request, name + "_stream", make_stream(given[name], which, kept[name]))
    if "args" in given:
        request.args, request.args_count = make_strings(given["args"], "args", kept["args"])
    if "env" in given:
        strings = env_strings(given["env"])
        request.env, request.env_count = make_strings(strings, "env", kept["env"])
    if "clock" in given:
        request.clock = make_clock(given["clock"], kept["clock"])
    if "random_seed" in given:
        seed = ffi.new("uint64_t *", seed_number(given["random_seed"]))
        kept["random_seed"].append(seed)
        request.random_seed = seed
    return request


# ---- struct husk_wasi_options ----


def _dir_kind(kind: DirKind | str) -> DirKind:
    names = {"host": DirKind.HOST, "cow": DirKind.COW, "mem": DirKind.MEM}
    if not isinstance(kind, str):
        return DirKind(kind)
    if kind not in names:
        raise ValueError(f'Dir.kind must be "host", "cow" or "mem", not {kind!r}')
    return names[kind]


def _fill_dir(row: Any, directory: Dir, keep: list[Any]) -> None:
    if not isinstance(directory, Dir):
        raise TypeError(f"dirs must be of husk.Dir, not {type(directory).__name__}")
    row.kind = _dir_kind(directory.kind)
    row.rights = Rights.READ | (Rights.WRITE if directory.writable else 0)
    guest_path = ffi.new("char[]", text(directory.guest, "Dir.guest"))
    row.guest_path = guest_path
    keep.append(guest_path)
    host = directory.host
    if row.kind == DirKind.MEM:
        if host is not None:
            raise ValueError('Dir: kind "mem" has no host directory')
        row.host_fd = -1
    elif isinstance(host, (str, bytes, os.PathLike)):
        host_path = ffi.new("char[]", text(host, "Dir.host"))
        row.host_path = host_path
        keep.append(host_path)
    elif host is None:
        raise ValueError(f"Dir {directory.guest!r} needs host=, a path or a descriptor")
    else:
        row.host_fd = descriptor(host, "Dir.host", keep)


def _fill_listener(row: Any, listener: Listener, keep: list[Any]) -> None:
    if not isinstance(listener, Listener):
        raise TypeError(f"listeners must be of husk.Listener, not {type(listener).__name__}")
    row.host_fd = descriptor(listener.socket, "Listener", keep)
    row.rights = number(listener.rights, "Listener.rights", 15)


def _fill_rows(
    options: Any,
    name: str,
    rows: Iterable[Any],
    fill: Callable[[Any, Any, list[Any]], None],
    keep: list[Any],
) -> None:
    kind = "struct husk_wasi_dir[]" if name == "dirs" else "struct husk_wasi_listener[]"
    given = list(rows)
    array = ffi.new(kind, len(given))
    keep.append(array)
    for place, row in enumerate(given):
        fill(array[place], row, keep)
    setattr(options, name, array)
    setattr(options, name + "_count", len(given))


def make_options(wasi: Wasi, keep: list[Any]) -> Any:
    """Make a struct husk_wasi_options."""
    options = new("husk_wasi_options")
    options.args, options.args_count = make_strings(wasi.args, "args", keep)
    options.env, options.env_count = make_strings(env_strings(wasi.env), "env", keep)
    options.random_seed = seed_number(wasi.random_seed)
    for name in ("open_max", "private_max_bytes", "private_max_entries"):
        setattr(options, name, number(getattr(wasi, name), name))
    _fill_rows(options, "dirs", wasi.dirs, _fill_dir, keep)
    _fill_rows(options, "listeners", wasi.listeners, _fill_listener, keep)
    parts: dict[str, Any] = {"clock": wasi.clock}
    for which, name in enumerate(_NAMES):
        stream = normal_stream(getattr(wasi, name), which)
        if isinstance(stream, Descriptor):
            setattr(options, name + "_fd", descriptor(stream.file, name, keep))
            setattr(options, name + "_rights", stream_rights(stream, which))
        else:
            parts[name] = stream
    kept: dict[str, list[Any]] = {}
    options.request = make_request(parts, kept)
    keep.append(kept)
    return options
