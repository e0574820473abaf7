"""Each status of the library, and the exception that it becomes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from wat import big_module, needs_kvm, wat

import husk

pytestmark = needs_kvm

EMPTY = wat('(module (func (export "f")) (memory (export "memory") 1))')


def in_process(code: str, **environment: str) -> None:
    """Run a program of its own, which must end well."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_no_hypervisor(tmp_path: Path) -> None:
    with pytest.raises(husk.NoHypervisorError) as raised:
        husk.Engine(hypervisor_path="/nonexistent/kvm")
    assert (raised.value.name, raised.value.errno) == ("HUSK_E_NO_HYPERVISOR", 2)
    (tmp_path / "kvm").touch()
    for path in (tmp_path / "kvm", "/dev/null", tmp_path):
        with pytest.raises(husk.SystemCallError):
            husk.Engine(hypervisor_path=path)
    with pytest.raises(ValueError, match="NUL"):
        husk.Engine(hypervisor_path="a\0b")


LYING_KVM = """
#define _GNU_SOURCE
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>
int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if (request == KVM_CHECK_EXTENSION && (long)argument == KVM_CAP_READONLY_MEM)
        return 0;
    return (int)syscall(SYS_ioctl, fd, request, argument);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_hypervisor_that_lacks_something(tmp_path: Path) -> None:
    library = tmp_path / "lying.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=LYING_KVM, text=True, check=True)
    program = """
        import husk
        try:
            husk.Engine()
        except husk.HypervisorLacksError as error:
            assert "KVM_CAP_READONLY_MEM" in error.message, error
            assert error.status == -5
        else:
            raise SystemExit("no exception")
        """
    preloaded = [str(library), *filter(None, [os.environ.get("LD_PRELOAD")])]
    in_process(program, LD_PRELOAD=":".join(preloaded))


def test_out_of_memory() -> None:
    in_process(
        """
        import resource
        import husk
        from wasi_guest import WAT
        from wat import wat
        imports = husk.Imports()
        imports.wasi(husk.Wasi())
        sandbox = husk.Sandbox(husk.compile(wat(WAT), level=0), imports)
        data = bytes(256 << 20)
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20),) * 2)
        try:
            sandbox.set_wasi(stdin=data)
        except MemoryError as error:
            assert isinstance(error, husk.OutOfMemoryError), error
            assert error.status == -2
        else:
            raise SystemExit("no exception")
        """
    )


def test_system_call(tmp_path: Path) -> None:
    with pytest.raises(husk.SystemCallError) as raised:
        husk.Image.open(tmp_path / "none")
    assert (raised.value.errno, raised.value.status) == (2, -3)
    with pytest.raises(OSError, match="none"):
        husk.Image.open(tmp_path / "none")
    with pytest.raises(husk.SystemCallError) as full:
        husk.compile(EMPTY).save(os.open("/dev/full", os.O_WRONLY))
    assert full.value.errno == 28


def test_modules(tmp_path: Path) -> None:
    with pytest.raises(husk.BadWasmError) as bad:
        husk.compile(b"\0asm\1\0\0\0\xff")
    assert (bad.value.status, bad.value.offset) == (-6, 8)
    with pytest.raises(husk.InvalidWasmError):
        husk.compile(wat("(module (func (result i32)))", "--no-check"))
    with pytest.raises(husk.UnsupportedError):
        husk.compile(wat("(module (func (param v128)))"), disable="simd")
    with pytest.raises(husk.LimitError):
        husk.compile(wat(f"(module (func (local {'i32 ' * 50_001})))"))


def test_images() -> None:
    data = bytearray(bytes(husk.compile(EMPTY)))
    found = set()
    for place in range(480, 512):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        try:
            husk.Image.open(damaged, skips_hash=True)
        except husk.Error as error:
            found.add(type(error))
    assert found == {husk.BadImageError, husk.ImageVersionError}
    for other in (b"", b"x", EMPTY, bytes(8192), bytes(data[:5000])):
        with pytest.raises(husk.BadImageError):
            husk.Image.open(other)


def test_an_image_for_another_cpu() -> None:
    image = husk.compile(wat('(module (func (export "f") (param v128)))'))
    data = bytearray(bytes(image))
    features = features_of(image)
    at = data.find(features.to_bytes(8, "little"), 0, 4096)
    assert at > 0
    data[at : at + 8] = (features | 1 << 62).to_bytes(8, "little")
    with pytest.raises(husk.CpuError) as raised:
        husk.Image.open(data, skips_hash=True)
    assert raised.value.status == -12


def features_of(image: husk.Image) -> int:
    """The bits of an image's features, by their names."""
    from husk.engine import cpu_feature_names

    return sum(
        1 << bit for bit in range(63) if cpu_feature_names(1 << bit) <= image.info.cpu_features
    )


def test_links_and_names() -> None:
    image = husk.compile(wat('(module (import "env" "f" (func)) (func (export "g")))'))
    with pytest.raises(husk.LinkError, match="env"):
        husk.Sandbox(image)
    sandbox = husk.Sandbox(husk.compile(EMPTY))
    with pytest.raises(husk.NotFoundError):
        sandbox.call("none")
    with pytest.raises(LookupError):
        sandbox.call("none")
    with pytest.raises(husk.ValueTypeError):
        sandbox.call("f", 1)
    with pytest.raises(TypeError):
        sandbox.call("f", 1)


def test_states() -> None:
    sandbox = husk.Sandbox(husk.compile(wat('(module (func (export "f") (loop $l (br $l))))')))
    other = husk.compile(EMPTY)
    with pytest.raises(husk.InvalidArgumentError) as raised:
        sandbox.restore(other)
    assert isinstance(raised.value, ValueError)
    with pytest.raises(husk.DeadlineExceeded):
        sandbox.call("f", timeout=0.01)
    with pytest.raises(husk.PoisonedError):
        sandbox.call("f")
    empty = husk.Sandbox.empty()
    with pytest.raises(husk.StateError):
        empty.snapshot()


def test_the_guest_returned_something_unusable() -> None:
    module = """(module (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) (i32.const 0x7fffffff))
        (func (export "f") (param i32 i32) (result i32) (i32.const 0)))"""
    with pytest.raises(husk.GuestError) as raised:
        husk.Sandbox(husk.compile(wat(module))).call_bytes("f", b"input")
    assert raised.value.status == -20


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_compiler_fails(tmp_path: Path) -> None:
    worker = script(tmp_path / "worker", "exit 0")
    with pytest.raises(husk.CompilerError) as raised:
        husk.compile(EMPTY, worker=worker)
    assert raised.value.status == -18
    with pytest.raises(husk.NotFoundError):
        husk.compile(EMPTY, worker=tmp_path / "none")


def test_the_compiler_is_out_of_time() -> None:
    with pytest.raises(husk.OutOfTimeError) as raised:
        husk.compile(big_module(14_000), cpu_limit=0.01, level=3, threads=1)
    assert isinstance(raised.value, TimeoutError)
    assert raised.value.status == -19


def test_progress_and_what_it_raises() -> None:
    seen: list[tuple[int, int]] = []
    husk.compile(big_module(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == 400
    mine = RuntimeError("mine")

    def progress(done: int, total: int) -> None:
        raise mine

    with pytest.raises(RuntimeError) as raised:
        husk.compile(big_module(), progress=progress)
    assert raised.value is mine
    with pytest.raises(TypeError):
        husk.compile(EMPTY, progress=5)  # type: ignore[arg-type]


def test_compile_to_file(tmp_path: Path) -> None:
    path = tmp_path / "image.husk"
    husk.compile_to_file(EMPTY, path, level=0, allow_uncontained=True, memory_limit=2 << 30)
    assert husk.Sandbox(husk.Image.open(path)).call("f") is None
    with pytest.raises(husk.SystemCallError):
        husk.compile_to_file(EMPTY, tmp_path / "no" / "folder")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"level": 4}, ValueError),
        ({"level": -1}, ValueError),
        ({"level": "2"}, TypeError),
        ({"threads": -1}, ValueError),
        ({"threads": 2**32}, ValueError),
        ({"cpu_limit": 0}, ValueError),
        ({"cpu_limit": float("nan")}, ValueError),
        ({"cpu_limit": "x"}, TypeError),
        ({"cpu_limit": True}, TypeError),
        ({"memory_limit": -1}, ValueError),
        ({"memory_limit": 2**64}, ValueError),
        ({"cpu": "no-such-cpu"}, husk.InvalidArgumentError),
        ({"cpu": "a\0b"}, ValueError),
        ({"cpu": 5}, TypeError),
        ({"worker": 5}, TypeError),
        ({"no_such_option": 5}, TypeError),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        husk.compile(EMPTY, **options)


@pytest.mark.parametrize("wasm", [None, 5, 1.5, ["x"], object()])
def test_wrong_modules(wasm: Any) -> None:
    with pytest.raises(TypeError):
        husk.compile(wasm)
