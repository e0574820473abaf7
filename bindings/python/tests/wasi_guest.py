"""A guest whose exports are the functions of WASI, and Python that calls them."""

from __future__ import annotations

import struct

import husk

_FUNCTIONS = {
    "fd_read": "i32 i32 i32 i32",
    "fd_write": "i32 i32 i32 i32",
    "fd_seek": "i32 i64 i32 i32",
    "fd_sync": "i32",
    "fd_close": "i32",
    "fd_filestat_get": "i32 i32",
    "fd_filestat_set_size": "i32 i64",
    "args_sizes_get": "i32 i32",
    "args_get": "i32 i32",
    "environ_sizes_get": "i32 i32",
    "environ_get": "i32 i32",
    "clock_time_get": "i32 i64 i32",
    "random_get": "i32 i32",
    "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32",
    "path_create_directory": "i32 i32 i32",
    "path_symlink": "i32 i32 i32 i32 i32",
    "path_unlink_file": "i32 i32 i32",
    "poll_oneoff": "i32 i32 i32 i32",
    "sock_accept": "i32 i32 i32",
}


def _module() -> str:
    imports, wrappers = [], []
    for name, params in _FUNCTIONS.items():
        imports.append(
            f'(import "wasi_snapshot_preview1" "{name}"'
            f" (func ${name} (param {params}) (result i32)))"
        )
        gets = " ".join(f"(local.get {i})" for i in range(len(params.split())))
        wrappers.append(
            f'(func (export "{name}") (param {params}) (result i32) (call ${name} {gets}))'
        )
    exit_import = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    exit_wrapper = '(func (export "exit") (param i32) (call $exit (local.get 0)))'
    memory = '(memory (export "memory") 4)'
    return "\n".join(["(module", *imports, exit_import, memory, *wrappers, exit_wrapper, ")"])


WAT = _module()
BADF, NOSPC, PIPE, NOENT, NOTCAPABLE = 8, 51, 64, 44, 76
"""errno of WASI."""
_IOVEC, _OUT, _DATA = 64, 128, 4096


class WasiError(Exception):
    """A function of WASI gave another errno than 0."""

    def __init__(self, name: str, errno: int) -> None:
        super().__init__(f"{name}: errno {errno}")
        self.errno = errno


class Guest:
    """The functions of WASI, as a guest sees them."""

    def __init__(self, sandbox: husk.Sandbox) -> None:
        self.sandbox = sandbox
        self.memory = sandbox.memory

    def _call(self, name: str, *args: int) -> None:
        errno = self.sandbox.call(name, *args)
        if errno != 0:
            raise WasiError(name, errno)

    def _put(self, data: bytes) -> tuple[int, int]:
        self.memory.write(_DATA, data)
        return _DATA, len(data)

    def _u32(self, addr: int) -> int:
        return int(struct.unpack("<I", self.memory.read(addr, 4))[0])

    def read(self, fd: int, count: int) -> bytes:
        self.memory.write(_IOVEC, struct.pack("<II", _DATA, count))
        self._call("fd_read", fd, _IOVEC, 1, _OUT)
        return self.memory.read(_DATA, self._u32(_OUT))

    def write(self, fd: int, data: bytes) -> int:
        self._put(data)
        self.memory.write(_IOVEC, struct.pack("<II", _DATA, len(data)))
        self._call("fd_write", fd, _IOVEC, 1, _OUT)
        return self._u32(_OUT)

    def seek(self, fd: int, offset: int, whence: int = 0) -> int:
        self._call("fd_seek", fd, offset, whence, _OUT)
        return int(struct.unpack("<Q", self.memory.read(_OUT, 8))[0])

    def sync(self, fd: int) -> None:
        self._call("fd_sync", fd)

    def close(self, fd: int) -> None:
        self._call("fd_close", fd)

    def truncate(self, fd: int, size: int) -> None:
        self._call("fd_filestat_set_size", fd, size)

    def _strings(self, name: str) -> list[bytes]:
        self._call(name + "_sizes_get", _OUT, _OUT + 4)
        count, size = self._u32(_OUT), self._u32(_OUT + 4)
        self._call(name + "_get", _DATA, _DATA + 4 * count)
        return self.memory.read(_DATA + 4 * count, size).split(b"\0")[:-1]

    def args(self) -> list[bytes]:
        return self._strings("args")

    def environ(self) -> list[bytes]:
        return self._strings("environ")

    def clock(self, which: int = 0) -> int:
        self._call("clock_time_get", which, 0, _OUT)
        return int(struct.unpack("<Q", self.memory.read(_OUT, 8))[0])

    def random(self, count: int) -> bytes:
        self._call("random_get", _DATA, count)
        return self.memory.read(_DATA, count)

    def open(self, dir_fd: int, path: bytes, *, creates: bool = False, writes: bool = True) -> int:
        rights = 2 | (64 | 1 << 22 | 1 << 21 if writes else 0) | 4
        flags = 1 if creates else 0
        self._call("path_open", dir_fd, 0, *self._put(path), flags, rights, rights, 0, _OUT)
        return self._u32(_OUT)

    def mkdir(self, dir_fd: int, path: bytes) -> None:
        self._call("path_create_directory", dir_fd, *self._put(path))

    def symlink(self, dir_fd: int, target: bytes, path: bytes) -> None:
        self.memory.write(_DATA + 1024, path)
        self._call("path_symlink", *self._put(target), dir_fd, _DATA + 1024, len(path))

    def unlink(self, dir_fd: int, path: bytes) -> None:
        self._call("path_unlink_file", dir_fd, *self._put(path))

    def accept(self, fd: int) -> int:
        self._call("sock_accept", fd, 0, _OUT)
        return self._u32(_OUT)
