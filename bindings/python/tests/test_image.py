"""Images: open, look into, save; errors by status."""

from __future__ import annotations

import errno
import fcntl
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Compile, Wat

import husk
from husk import errors
from husk._native import lib

MODULE = """(module $named
  (import "env" "f" (func (param i32) (result i64)))
  (import "env" "m" (memory 1 5))
  (import "env" "g" (global (mut f64)))
  (import "env" "t" (table 3 funcref))
  (export "mem" (memory 0))
  (table (export "table") 4 9 externref)
  (tag (export "tag") (param i32 f32))
  (global (export "constant") i32 (i32.const 3))
  (func (export "f") (param v128 funcref) (result externref) ref.null extern))"""


def test_imports_and_exports(image_of: Compile) -> None:
    image = image_of(MODULE)
    func, memory, global_, table = image.imports
    kind = husk.ExternKind
    assert (func.module, func.name, func.kind) == ("env", "f", kind.FUNC)
    assert func.type == husk.FuncType(["i32"], ["i64"])
    assert (memory.kind, memory.min, memory.max) == (kind.MEMORY, 1, 5)
    assert (global_.kind, global_.type, global_.is_mutable) == (kind.GLOBAL, husk.F64, True)
    assert (table.kind, table.min, table.max, table.type) == (kind.TABLE, 3, None, husk.FUNCREF)
    exports = image.exports
    assert list(exports) == ["mem", "table", "tag", "constant", "f"]
    assert exports["tag"].type == husk.FuncType(["i32", "f32"])
    assert [item.name for item in exports.list(kind.GLOBAL)] == ["constant"]
    assert (
        exports["f"].type
        == image.func_type("f")
        == husk.FuncType(["v128", "funcref"], ["externref"])
    )
    assert "nothing" not in exports and len(exports) == 5
    assert image.info.module_name == "named" and image.info.opt_level == 1
    assert len(image.info.wasm_sha256) == 32 and image.info.tags_count == 1
    assert "named" in repr(image)
    assert not image.is_snapshot and image.standing is None and image.note is None
    for missing in (image.func_type, image.tag, image.table_idx):
        with pytest.raises(husk.NotFoundError):
            missing("nothing")


def test_save_and_open(image_of: Compile, tmp_path: Path) -> None:
    image = image_of('(module (func (export "f") (result i32) i32.const 5))')
    path = tmp_path / "image.husk"
    image.save(path)
    raw = path.read_bytes()
    assert raw == image.to_bytes() == bytes(image)
    with open(tmp_path / "other", "w+b") as file:
        image.save(file.fileno())
        opened = [
            husk.Image.open(path),
            husk.Image.open(str(path)),
            husk.Image.open(raw),
            husk.Image.open(bytearray(raw)),
            husk.Image.open(memoryview(raw)),
            husk.Image.open(file.fileno()),
            husk.Image.open(path, skips_hash=True),
            husk.Image.open(path, uses_file=True),
            husk.Image.open(path, serves_once=True),
        ]
    for one in opened:
        with husk.Sandbox(one) as sandbox:
            assert sandbox.call("f") == 5
    with pytest.raises(husk.StateError):
        husk.Sandbox(opened[-1])


def test_examined_without_an_engine(image_of: Compile) -> None:
    image = husk.Image.open(image_of('(module (func (export "f")))').to_bytes(), examine=True)
    assert image.engine is None and list(image.exports) == ["f"]
    with pytest.raises(husk.NoHypervisorError, match="set_engine"):
        husk.Sandbox(image)
    image.set_engine()
    assert husk.Sandbox(image).call("f") is None
    with pytest.raises(husk.InvalidArgumentError):
        image.set_engine()


def test_damaged_images(image_of: Compile, tmp_path: Path) -> None:
    raw = image_of("(module)").to_bytes()
    for wrong in (b"", b"x", raw[:100], bytes(len(raw)), raw[:-1]):
        with pytest.raises(husk.BadImageError):
            husk.Image.open(wrong)
    damaged = bytearray(raw)
    damaged[len(raw) // 2] ^= 1
    with pytest.raises((husk.BadImageError, husk.ImageVersionError)):
        husk.Image.open(damaged)
    with pytest.raises(husk.SystemCallError) as caught:
        husk.Image.open(tmp_path / "nothing")
    assert caught.value.errno == errno.ENOENT and isinstance(caught.value, OSError)
    assert caught.value.name == "HUSK_E_SYS" and caught.value.sys_errno == errno.ENOENT
    with pytest.raises(husk.SystemCallError) as closed:
        husk.Image.open(987654)
    assert closed.value.errno == errno.EBADF
    with pytest.raises(ValueError, match="NUL"):
        husk.Image.open("a\0b")
    with pytest.raises(TypeError):
        husk.Image.open(1.5)  # type: ignore[arg-type]


def test_save_fails(image_of: Compile, tmp_path: Path) -> None:
    image = image_of("(module)")
    with pytest.raises(husk.SystemCallError) as caught:
        image.save("/dev/full/x")
    assert caught.value.errno == errno.ENOTDIR
    with open("/dev/full", "wb") as full, pytest.raises(husk.SystemCallError) as nospace:
        image.save(full.fileno())
    assert nospace.value.errno == errno.ENOSPC
    read, write = os.pipe()
    os.close(read)
    with pytest.raises(husk.SystemCallError) as broken:
        image.save(write)
    os.close(write)
    assert broken.value.errno == errno.EPIPE

    class Stop(Exception):
        pass

    def stops(piece: bytes) -> None:
        raise Stop

    with pytest.raises(Stop):
        image.save_to(stops)
    assert list(tmp_path.iterdir()) == []


def test_notes(image_of: Compile) -> None:
    sandbox = husk.Sandbox(image_of("(module (memory 1))"))
    sandbox.start()
    snapshot = sandbox.snapshot()
    assert snapshot.note is None
    snapshot.note = b"mine\0too"
    assert snapshot.note == b"mine\0too"
    assert husk.Image.open(snapshot.to_bytes()).note == b"mine\0too"
    with pytest.raises(husk.LimitError):
        snapshot.note = bytes((1 << 20) + 1)
    snapshot.note = None
    assert snapshot.note is None
    with pytest.raises(husk.InvalidArgumentError):
        image_of("(module (memory 1))").note = b"x"


def test_bad_modules(wat: Wat) -> None:
    with pytest.raises(husk.BadWasmError) as bad:
        husk.compile(b"\0asm\1\0\0\0\xff")
    assert bad.value.offset is not None and isinstance(bad.value, ValueError)
    invalid = wat('(module (func (export "f") nop))').replace(b"\x00\x01\x0b", b"\x00\x1a\x0b")
    with pytest.raises(husk.InvalidWasmError) as wrong:
        husk.compile(invalid)
    assert wrong.value.offset is not None
    with pytest.raises(husk.InvalidWasmError):
        husk.validate(invalid)
    husk.validate(wat("(module)"))
    with pytest.raises(ValueError, match="level"):
        husk.compile(wat("(module)"), level=4)
    with pytest.raises(husk.UnsupportedError, match="simd"):
        husk.compile(wat("(module (func (drop (v128.const i64x2 0 0))))"), disable="simd")
    with pytest.raises(FileNotFoundError):
        husk.compile("/nothing/there.wasm")
    with pytest.raises(husk.InvalidArgumentError):
        husk.compile(wat("(module)"), cpu="no-such-cpu")


def test_errors_can_be_pickled(tmp_path: Path) -> None:
    for kind in (husk.LinkError, husk.SystemCallError, husk.OutOfTimeError):
        error = pickle.loads(pickle.dumps(kind("text", sys_errno=2, offset=7)))
        assert type(error) is kind and str(error) == "text"
        assert (error.sys_errno, error.offset) == (2, 7)


def test_every_status_has_its_exception() -> None:
    names = [name for name in dir(lib) if name.startswith("HUSK_E_")]
    assert len(names) == 20
    for name in names:
        error = errors.error_of(getattr(lib, name), None)
        assert type(error) is not husk.Error and error.name == name
        assert str(error) == error.text != ""
    assert issubclass(husk.OutOfMemoryError, MemoryError)
    assert issubclass(husk.OutOfTimeError, TimeoutError)
    assert issubclass(husk.NotFoundError, LookupError)
    assert issubclass(husk.UnsupportedError, NotImplementedError)


def test_engines(tmp_path: Path, wat: Wat) -> None:
    with pytest.raises(husk.NoHypervisorError) as caught:
        husk.Engine(hypervisor_path=tmp_path / "kvm")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(husk.InvalidArgumentError):
        husk.Engine(kick_signal=-1)
    lines: list[tuple[int, str]] = []
    with husk.Engine(log=lambda level, text: lines.append((level, text)), pool_max=0) as engine:
        info = engine.host_info()
        assert info.hypervisor in ("vmx", "svm", "pvm", "unknown") and info.cpu_name
        engine.trim(0)
        image = husk.compile(wat('(module (func (export "f")))'), engine=engine)
    with pytest.raises(husk.StateError, match="closed"):
        engine.host_info()
    assert husk.Sandbox(image).call("f") is None
    assert husk.default_engine() is husk.default_engine()


def test_closed_image(image_of: Compile) -> None:
    with husk.Image.open(image_of('(module (func (export "f")))').to_bytes()) as image:
        sandbox = husk.Sandbox(image)
    assert "closed" in repr(image)
    for refused in (lambda: image.info, image.to_bytes, lambda: husk.Sandbox(image)):
        with pytest.raises(husk.StateError, match="closed"):
            refused()
    assert sandbox.call("f") is None and list(sandbox.exports) == ["f"]
    with sandbox.snapshot() as snapshot:
        sandbox.restore(snapshot)
    assert sandbox.call("f") is None


def test_exports_are_read_once(image_of: Compile) -> None:
    image = image_of('(module (func (export "f")))')
    first, second = husk.Sandbox(image), husk.Sandbox(image)
    assert first.image.exports is second.image.exports is image.exports


OPENS_SHARED = """
import sys, husk
fd = int(sys.argv[1])
for options in ({}, {"skips_hash": True}):
    with husk.Image.open(fd, **options) as image, husk.Sandbox(image) as sandbox:
        print(sandbox.memory.read(0, 6), sandbox.call("read"), image.is_snapshot)
try:
    open(f"/proc/self/fd/{fd}", "r+b", buffering=0).write(b"x")
except OSError as error:
    print(error.errno)
"""


def test_an_image_is_shared_with_another_process(image_of: Compile) -> None:
    module = """(module (memory (export "memory") 1) (data (i32.const 0) "before")
      (func (export "read") (result i32) (i32.load8_u (i32.const 0))))"""
    image = image_of(module)
    with husk.Sandbox(image) as sandbox:
        sandbox.memory.write(0, b"after!")
        snapshot = sandbox.snapshot()
    for one, text in ((image, b"before"), (snapshot, b"after!")):
        fd = one.share()
        try:
            assert not os.get_inheritable(fd)
            seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
            assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & seals == seals
            command = [sys.executable, "-c", OPENS_SHARED, str(fd)]
            done = subprocess.run(
                command, pass_fds=[fd], capture_output=True, text=True, timeout=60
            )
            expected = f"{text!r} {text[0]} {one.is_snapshot}\n" * 2 + f"{errno.EPERM}\n"
            assert done.stdout == expected, done.stderr
        finally:
            os.close(fd)


def test_images_that_cannot_be_shared(image_of: Compile) -> None:
    image = husk.Image.open(image_of("(module)").to_bytes(), serves_once=True)
    with pytest.raises(husk.StateError):
        image.share()
    image.close()
    with pytest.raises(husk.StateError, match="closed"):
        image.share()
    with pytest.raises(husk.StateError, match="closed"):
        image.check()


def test_check_finds_what_opening_leaves(image_of: Compile) -> None:
    """A bad row of backtraces, or name: the image opens, and its guest runs."""
    image = image_of(
        '(module (func (export "trap") unreachable) (func (export "f") (result i32) i32.const 5))'
    )
    image.check()
    raw = bytearray(image.to_bytes())
    found: dict[str, int] = {}
    opened = False
    for at in range(min(len(raw), 2048)):
        raw[at] ^= 0xFF
        try:
            with husk.Image.open(raw, examine=True, skips_hash=True) as damaged:
                opened = True
                damaged.check()
        except husk.BadImageError as error:
            if opened:
                found.setdefault(error.message.split()[0], at)
        except husk.Error:
            pass
        opened = False
        raw[at] ^= 0xFF
    assert {"code", "unwind", "function"} <= found.keys()
    raw[found["unwind"]] ^= 0xFF
    with husk.Image.open(raw, skips_hash=True) as damaged, husk.Sandbox(damaged) as sandbox:
        assert sandbox.call("f") == 5
