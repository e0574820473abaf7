"""What happens seldom: ends of calls that no compiled module brings about, failures of the kernel,
source lines, unusual imports and exports, shares of objects."""

from __future__ import annotations

import copy
import logging
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from wasi_guest import WAT
from wat import needs_kvm, wat

import husk

pytestmark = needs_kvm

ENDS = """(module
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (import "env" "unused" (tag $unused (param i64)))
    (import "env" "tag" (tag $tag (param i32)))
    (memory (export "memory") 1)
    (func (export "exit") (call $exit (i32.const 3)))
    (func (export "throw") (throw $tag (i32.const 7)))
    (func (export "loop") (loop $l (br $l)))
    (func (export "store") (i32.store (i32.const 70000) (i32.const 1)))
    (func (export "touch") (param i32)
        (i32.store (local.get 0) (i32.add (i32.load (local.get 0)) (i32.const 1))))
    (func $deep (export "deep") (call $deep))
    (func (export "number") (result i32) (i32.const 0x12345678)))"""


def ends_imports(engine: husk.Engine | None = None) -> husk.Imports:
    imports = husk.Imports(engine)
    imports.wasi(husk.Wasi())
    for name, kind in (("unused", "i64"), ("tag", "i32")):
        imports.define(husk.Extern("env", name, husk.ExternKind.TAG, husk.FuncType([kind])))
    return imports


def ends(**options: Any) -> husk.Sandbox:
    return husk.Sandbox(husk.compile(wat(ENDS), level=0), ends_imports(), **options)


# ---- Ends of calls ----


def test_exit() -> None:
    sandbox = ends()
    with pytest.raises(husk.Exited) as raised:
        sandbox.call("exit")
    assert raised.value.code == 3
    assert sandbox.stats().exits == 1
    assert sandbox.engine.stats().exits > 0


def test_an_exception_of_an_imported_tag() -> None:
    with pytest.raises(husk.GuestException) as raised:
        ends().call("throw")
    tag = raised.value.tag
    assert (tag.module, tag.name, tag.idx) == ("env", "tag", 1)
    assert raised.value.values == (7,)


def test_an_interrupt_in_the_middle_poisons() -> None:
    sandbox = ends()
    timer = threading.Timer(0.1, sandbox.interrupt)
    timer.start()
    with pytest.raises(husk.Interrupted) as raised:
        sandbox.call("loop", timeout=10)
    timer.join()
    assert raised.value.is_poisoned
    assert sandbox.stats().poisonings_interrupt == 1
    assert sandbox.engine.stats().poisonings_interrupt > 0


def test_recursion_has_one_frame_with_repeats() -> None:
    with pytest.raises(husk.Trap) as raised:
        ends().call("deep")
    assert raised.value.trap == husk.TrapKind.CALL_STACK_EXHAUSTED
    backtrace = raised.value.backtrace
    assert sum(frame.repeats for frame in backtrace) > 100
    assert backtrace.total > 100


def test_code_that_no_compiler_makes() -> None:
    image = bytes(husk.compile(wat(ENDS), level=0, cpu="x86-64-v2"))
    number = b"\x78\x56\x34\x12"
    assert image.count(number) == 1
    hostile = image.replace(number, b"\xf4" * 4)  # hlt, where the number was an operand
    place = hostile.index(b"\xf4" * 4)
    damaged = bytearray(hostile)
    damaged[place - 1] = 0xF4  # and the instruction itself
    sandbox = husk.Sandbox(husk.Image.open(damaged, skips_hash=True), ends_imports())
    with pytest.raises(husk.GuestViolation) as raised:
        sandbox.call("number")
    assert raised.value.is_poisoned
    assert sandbox.stats().guest_violations == 1
    assert sandbox.stats().poisonings_guest_violation == 1
    assert sandbox.engine.stats().poisonings_guest_violation > 0
    with pytest.raises(husk.PoisonedError):
        sandbox.call("number")


# ---- The kernel fails ----

FAULTS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The n-th call from libhusk fails, and those after it; 0: none does. */
int fail_at;
unsigned long fail_request; /* ioctl alone: this request */

static int fails(void *caller, unsigned long request) {
    Dl_info info;
    if (fail_at == 0 || dladdr(caller, &info) == 0 || strstr(info.dli_fname, "libhusk") == NULL)
        return 0;
    if (fail_request != 0 && request != fail_request)
        return 0;
    if (fail_at > 1)
        return fail_at--, 0;
    errno = EFAULT;
    return 1;
}
#define FAILS(request) fails(__builtin_return_address(0), request)

int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    return FAILS(request) ? -1 : (int)syscall(SYS_ioctl, fd, request, argument);
}
void *mmap(void *at, size_t count, int prot, int flags, int fd, off_t offset) {
    return FAILS(0) ? MAP_FAILED : (void *)syscall(SYS_mmap, at, count, prot, flags, fd, offset);
}
int madvise(void *at, size_t count, int advice) {
    return FAILS(0) ? -1 : (int)syscall(SYS_madvise, at, count, advice);
}
"""

FAULTY_PROGRAM = """
    import ctypes
    import time
    import husk
    from test_rare import ENDS, ends, ends_imports
    from wat import wat
    faults = ctypes.CDLL(None)
    fail_at = ctypes.c_int.in_dll(faults, "fail_at")
    fail_request = ctypes.c_ulong.in_dll(faults, "fail_request")
    KVM_RUN = 0xAE80
    """


def with_faults(program: str, folder: Path) -> None:
    """Run a program whose system calls can fail."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    library = folder / "faults.so"
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=FAULTS, text=True, check=True)
    preloaded = [str(library), *filter(None, [os.environ.get("LD_PRELOAD")])]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FAULTY_PROGRAM) + textwrap.dedent(program)],
        env={
            **os.environ,
            "LD_PRELOAD": ":".join(preloaded),
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_the_vm_fails(tmp_path: Path) -> None:
    program = """
        sandbox = ends()
        sandbox.call("number")
        snapshot = sandbox.snapshot()
        fail_request.value, fail_at.value = KVM_RUN, 1
        try:
            sandbox.call("number")
        except husk.SystemCallError as error:
            assert error.errno == 14, error
        else:
            raise SystemExit("no exception")
        fail_at.value = 0
        assert sandbox.stats().poisonings_vm_failure == 1
        assert sandbox.engine.stats().poisonings_vm_failure == 1
        sandbox.restore(snapshot)
        assert sandbox.call("number") == 0x12345678
        """
    with_faults(program, tmp_path)


def test_a_restore_fails_half_way(tmp_path: Path) -> None:
    program = """
        sandbox = ends()
        sandbox.call("number")
        snapshot = sandbox.snapshot()
        snapshot.save("snapshot.husk")
        failures = 0
        for nth in range(1, 100):
            opened = husk.Image.open("snapshot.husk")  # the first restore to it remaps memory
            sandbox.call("touch", 4096)
            fail_at.value = nth
            try:
                sandbox.restore(opened)
            except husk.Error:
                failures += 1
            else:
                break
            finally:
                fail_at.value = 0
            sandbox.restore(snapshot)
            assert sandbox.call("number") == 0x12345678
        assert failures > 0
        stats = sandbox.stats()
        assert stats.restore_failures > 0, stats
        assert stats.poisonings_restore_failure > 0, stats
        assert sandbox.engine.stats().poisonings_restore_failure > 0
        """
    with_faults(f"import os\nos.chdir({str(tmp_path)!r})\n" + textwrap.dedent(program), tmp_path)


def test_a_spare_vm_cannot_be_made(tmp_path: Path) -> None:
    program = """
        messages = []
        engine = husk.Engine(log=lambda level, message: messages.append(message))
        image = husk.compile(wat("(module)"), engine=engine)
        fail_at.value = 1
        husk.prepare(image, 1)
        for _ in range(500):
            if engine.stats().spare_failures > 0 and messages:
                break
            time.sleep(0.01)
        else:
            raise SystemExit("it never failed")
        fail_at.value = 0
        """
    with_faults(program, tmp_path)


# ---- The log ----


def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    lines: list[tuple[int, str]] = []
    module = """(module (import "wasi" "thread-spawn" (func $spawn (param i32) (result i32)))
        (func (export "f") (result i32) (call $spawn (i32.const 0))))"""
    logger = logging.getLogger("husk.test")
    caplog.set_level(logging.DEBUG, "husk.test")
    logs: list[Any] = [lambda level, line: lines.append((level, line)), logger]
    for log in logs:
        with husk.Engine(log=log, kick_signal=50) as engine:
            imports = husk.Imports(engine)
            imports.wasi(husk.Wasi())
            sandbox = husk.Sandbox(husk.compile(wat(module), engine=engine), imports)
            assert sandbox.call("f") < 0
    assert any(level == logging.WARNING and "thread" in line for level, line in lines)
    assert any("thread" in record.getMessage() for record in caplog.records)


# ---- Counters that grow seldom ----


def test_counters_of_loads_and_pages() -> None:
    with husk.Engine() as engine:
        image = husk.compile(wat(ENDS), level=0, engine=engine)
        imports = ends_imports(engine)
        sandbox = husk.Sandbox(image, imports)
        sandbox.call("touch", 100)
        snapshot = sandbox.snapshot()
        sandbox.unload()
        sandbox.load(snapshot, imports)
        sandbox.load(husk.compile(wat("(module)"), engine=engine))
        stats, whole = sandbox.stats(), engine.stats()
        assert stats.loads_in_place > 0
        assert stats.loads_rebuilt > 0
        assert stats.snapshot_pages > 0
        assert whole.snapshot_bytes >= 4096 * whole.snapshot_pages > 0
        assert whole.loads_from_snapshot > 0
        assert whole.unloads > 0


def test_pages_age() -> None:
    sandbox = ends()
    sandbox.call("touch", 0)
    snapshot = sandbox.snapshot()
    for addr in range(0, 65536, 4096):
        sandbox.call("touch", addr)
    before = sandbox.engine.stats().restore_pages_aged
    end = time.monotonic() + 5
    while sandbox.engine.stats().restore_pages_aged == before:
        assert time.monotonic() < end
        for _ in range(100):
            sandbox.restore(snapshot)
            sandbox.call("number")


# ---- Looking into images ----


@pytest.mark.skipif(shutil.which("clang-22") is None, reason="no clang-22")
def test_source_lines(tmp_path: Path) -> None:
    source = tmp_path / "guest.c"
    source.write_text("int zero;\nint f(int x) {\n    return x /\n        zero;\n}\n")
    flags = ["--target=wasm32", "-g", "-nostdlib", "-Wl,--no-entry", "-Wl,--export=f"]
    target = tmp_path / "guest.wasm"
    done = subprocess.run(["clang-22", *flags, str(source), "-o", str(target)], check=False)
    if done.returncode != 0:
        pytest.skip("clang-22 cannot link for wasm32")
    image = husk.compile(target)
    assert image.info.has_lines
    with pytest.raises(husk.Trap) as raised:
        husk.Sandbox(image).call("f", 1)
    frame = raised.value.backtrace[0]
    assert (frame.func_name, Path(frame.file or "").name, frame.line) == ("f", "guest.c", 3)
    assert frame.column > 0
    assert "guest.c:3" in str(raised.value)


def test_shared_memories_and_those_of_64_bits() -> None:
    module = """(module (import "env" "shared" (memory 1 2 shared)) (memory (export "big") i64 1)
        (table (export "t") 20 funcref) (global $g (mut i32) (i32.const 0))
        (func $start (global.set $g (i32.const 1))) (start $start))"""
    image = husk.compile(wat(module))
    assert image.imports[0].is_shared
    assert image.exports["big"].is_64
    assert (image.info.needs_init, image.info.memories_count) == (True, 2)
    imports = husk.Imports()
    imports.define(image.imports[0])
    sandbox = husk.Sandbox(image, imports, table_max=25)
    sandbox.start()
    assert sandbox.tables["t"].grow(5) == 20
    with pytest.raises(husk.LimitError):
        sandbox.tables["t"].grow(1)


# ---- Shares ----


def test_copies_are_shares() -> None:
    engine = husk.Engine()
    other = copy.copy(engine)
    engine.close()
    with pytest.raises(husk.StateError):
        engine.stats()
    image = husk.compile(wat(ENDS), level=0, engine=other)
    second = copy.copy(image)
    del image
    sandbox = husk.Sandbox(second, ends_imports(other))
    memory = sandbox.memory.image(0, 4096)
    share = copy.copy(memory)
    memory.close()
    sandbox.memory.map(share, 4096)


def test_limits_have_a_share_of_their_token() -> None:
    cancel = husk.Cancel()
    limits = husk.Limits(cancel=cancel)
    cancel.cancel()
    limits.cancel = None
    del cancel
    with pytest.raises(husk.Interrupted):
        ends().call("number", limits=limits)


# ---- Input that waits ----


def test_a_snapshot_of_a_guest_that_waits_for_input() -> None:
    imports = husk.Imports()
    imports.wasi(husk.Wasi(stdin=husk.AWAITED))
    sandbox = husk.Sandbox(husk.compile(wat(WAT), level=0), imports)
    sandbox.memory.write(64, (4096).to_bytes(4, "little") + (8).to_bytes(4, "little"))
    with pytest.raises(husk.Pending):
        sandbox.call("fd_read", 0, 64, 1, 128)
    snapshot = sandbox.snapshot()
    standing = snapshot.standing
    assert standing is not None
    assert snapshot.names_of(standing.func) == ("fd_read",)
    for data in (b"first", b"second"):
        each = husk.Sandbox(snapshot, imports)
        each.set_wasi(stdin=data)
        assert each.resume(again=True) == 0
        assert each.memory.read(4096, len(data)) == data
