"""Streams, arguments, environment, clock, random numbers, directories and sockets of a guest."""

from __future__ import annotations

import bz2
import gc
import gzip
import io
import lzma
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wasi_guest import BADF, NOENT, NOSPC, PIPE, WAT, Guest, WasiError
from wat import needs_kvm, wat

import husk

pytestmark = needs_kvm

IMAGE: list[husk.Image] = []


def image() -> husk.Image:
    if not IMAGE:
        IMAGE.append(husk.compile(wat(WAT), level=0))
    return IMAGE[0]


def guest_of(wasi: husk.Wasi | None = None, **parts: Any) -> Guest:
    imports = husk.Imports()
    imports.wasi(wasi if wasi is not None else husk.Wasi(**parts))
    return Guest(husk.Sandbox(image(), imports))


def errno_of(function: Callable[..., object], *args: Any) -> int:
    with pytest.raises(WasiError) as raised:
        function(*args)
    return raised.value.errno


# ---- Streams ----


def test_nothing_is_given_by_default() -> None:
    guest = guest_of()
    assert guest.args() == []
    assert guest.environ() == []
    for fd in range(4):
        assert errno_of(guest.write, fd, b"x") == BADF
        assert errno_of(guest.read, fd, 1) == BADF


def test_bytes_are_read_to_their_end() -> None:
    guest = guest_of(stdin=b"hello world")
    assert guest.read(0, 5) == b"hello"
    assert guest.read(0, 100) == b" world"
    assert guest.read(0, 100) == b""


@pytest.mark.parametrize("stdin", [bytearray(b"abc"), memoryview(b"abc"), "abc"])
def test_input_may_be_any_bytes_or_text(stdin: Any) -> None:
    assert guest_of(stdin=stdin).read(0, 10) == b"abc"


def test_what_was_given_is_copied() -> None:
    data = bytearray(b"before")
    guest = guest_of(stdin=data)
    data[:] = b"after!"
    assert guest.read(0, 10) == b"before"


def test_buffers_collect_both_outputs() -> None:
    guest = guest_of(stdout=husk.BUFFER, stderr=husk.Buffer(limit=4))
    assert guest.write(1, b"out") == 3
    assert guest.write(2, b"errors") == 4
    assert errno_of(guest.write, 2, b"more") == NOSPC
    out, err = guest.sandbox.wasi_output(), guest.sandbox.wasi_output("stderr")
    assert (out, out.has_lost, out.text()) == (b"out", False, "out")
    assert (err, err.has_lost) == (b"erro", True)
    assert guest.sandbox.wasi_output(1) == b"out"


def test_there_is_no_output_of_a_stream_that_is_no_buffer() -> None:
    guest = guest_of(stdout=husk.BUFFER)
    with pytest.raises(ValueError, match="stream 2"):
        guest.sandbox.wasi_output("stderr")
    for wrong in ("stdin", 0, 3, "x", -1, 2**40):
        with pytest.raises(ValueError, match="stream"):
            guest.sandbox.wasi_output(wrong)


def test_descriptors_and_files(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w+b") as file:
        file.write(b"Python first, ")
        guest = guest_of(stdout=file, stdin=os.open(os.devnull, os.O_RDONLY))
        guest.write(1, b"then the guest")
        assert guest.read(0, 10) == b""
    assert path.read_bytes() == b"Python first, then the guest"


def test_a_file_lives_as_long_as_the_sandbox(tmp_path: Path) -> None:
    path = tmp_path / "out"
    guest = guest_of(stdout=path.open("wb"))
    gc.collect()
    guest.write(1, b"still open")
    assert path.read_bytes() == b"still open"
    guest.sandbox.set_wasi(stdout=(tmp_path / "second").open("wb"))
    gc.collect()
    guest.write(1, b"also open")
    assert (tmp_path / "second").read_bytes() == b"also open"


def test_rights_of_a_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    rights = husk.Rights.READ | husk.Rights.WRITE | husk.Rights.SEEK | husk.Rights.RESIZE
    with path.open("r+b") as file:
        guest = guest_of(stdout=husk.Descriptor(file, rights), stderr=file)
        assert guest.seek(1, 4) == 4
        assert guest.read(1, 2) == b"45"
        guest.sync(1)
        guest.truncate(1, 3)
        assert errno_of(guest.seek, 2, 0) != 0
        assert errno_of(guest.read, 2, 1) != 0
    assert path.read_bytes() == b"012"


def test_callbacks() -> None:
    asked: list[int] = []
    taken: list[bytes] = []

    def read(count: int) -> bytes:
        asked.append(count)
        return b"abc"[:count]

    guest = guest_of(stdin=read, stdout=taken.append, stderr=lambda data: 2)
    assert guest.read(0, 2) == b"ab"
    assert guest.read(0, 100) == b"abc"
    assert asked == [2, 100]
    assert guest.write(1, b"all of it") == 9
    assert guest.write(2, b"some") == 2
    assert taken == [b"all of it"]


def test_callbacks_for_both_directions() -> None:
    both = husk.Callback(read=lambda count: b"r", write=lambda data: 0)
    guest = guest_of(stdin=both, stdout=both)
    assert guest.read(1, 5) == b"r"
    assert errno_of(guest.write, 0, b"x") == PIPE


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda count: b"x" * (count + 1), ValueError),
        (lambda count: "text", TypeError),
        (lambda count: None, TypeError),
        (lambda: b"", TypeError),
        (lambda count: 1 // 0, ZeroDivisionError),
    ],
)
def test_a_reader_that_fails_ends_the_call(read: Any, error: type[Exception]) -> None:
    guest = guest_of(stdin=read)
    with pytest.raises(error):
        guest.read(0, 4)
    guest.sandbox.set_wasi(stdin=b"fine")
    assert guest.read(0, 4) == b"fine"


@pytest.mark.parametrize("result", [100, -1, "x", 1.5, True, 2**70])
def test_a_writer_that_returns_nonsense_ends_the_call(result: Any) -> None:
    guest = guest_of(stdout=lambda data: result)
    with pytest.raises((ValueError, TypeError)):
        guest.write(1, b"data")


def test_the_exception_of_a_callback_is_the_same_object() -> None:
    mine = RuntimeError("mine")

    def write(data: bytes) -> None:
        raise mine

    with pytest.raises(RuntimeError) as raised:
        guest_of(stdout=write).write(1, b"x")
    assert raised.value is mine
    assert any(entry.name == "write" for entry in raised.traceback)


def test_file_objects_without_a_descriptor() -> None:
    out = io.BytesIO()
    guest = guest_of(stdin=io.BytesIO(b"from memory"), stdout=out)
    assert guest.read(0, 4) == b"from"
    guest.write(1, b"to memory")
    assert out.getvalue() == b"to memory"


@pytest.mark.parametrize("compressed", [gzip, bz2, lzma])
def test_file_objects_whose_descriptor_has_other_bytes(compressed: Any, tmp_path: Path) -> None:
    with compressed.open(tmp_path / "out", "wb") as out:
        guest_of(stdout=out).write(1, b"compressed")
    for mode in ("rb", "rt"):
        with compressed.open(tmp_path / "out", mode) as file:
            assert guest_of(stdin=file).read(0, 99) == b"compressed"


@pytest.mark.parametrize("mode", ["rb", "r+b", "r", "r+"])
def test_what_python_has_read_ahead_is_there(mode: str, tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"first\nsecond \xc3\xa9\nthird")
    with (tmp_path / "lines").open(mode) as file:
        file.readline()
        guest = guest_of(stdin=file)
        assert guest.read(0, 10) == b"second \xc3\xa9\n"
        guest.sandbox.set_wasi(stdin=file)
        assert guest.read(0, 3) == b"thi"
        for _ in range(2):
            file.seek(0)
            guest.sandbox.set_wasi(stdin=file)
            assert guest.read(0, 6) == b"first\n"


def test_a_callback_cannot_use_its_sandbox() -> None:
    guest: Guest

    def read(count: int) -> bytes:
        assert guest is not None
        for use in (guest.sandbox.close, guest.sandbox.snapshot, guest.sandbox.wasi_output):
            with pytest.raises(husk.StateError):
                use()
        with pytest.raises(husk.StateError):
            guest.sandbox.set_wasi(stdin=b"other")
        return b"fine"

    guest = guest_of(stdin=read)
    assert guest.read(0, 4) == b"fine"


def test_a_callback_may_use_another_sandbox() -> None:
    inner = guest_of(stdin=b"from within")
    outer = guest_of(stdin=lambda count: inner.read(0, count))
    assert outer.read(0, 4) == b"from"
    inner.sandbox.close()
    with pytest.raises(husk.StateError):
        outer.read(0, 4)


def test_output_can_be_pickled() -> None:
    output = pickle.loads(pickle.dumps(husk.Output(b"abc", True)))
    assert (output, output.has_lost) == (b"abc", True)


def test_streams_of_a_clone_are_those_of_the_imports() -> None:
    guest = guest_of(stdin=b"first", stdout=husk.BUFFER)
    guest.sandbox.set_wasi(stdin=b"second")
    clone = Guest(guest.sandbox.clone())
    assert (clone.read(0, 9), guest.read(0, 9)) == (b"first", b"second")


def test_loading_ends_a_request() -> None:
    taken: list[bytes] = []
    imports = husk.Imports()
    imports.wasi(husk.Wasi(stdout=husk.BUFFER))
    guest = Guest(husk.Sandbox(image(), imports))
    guest.sandbox.set_wasi(stdout=taken.append)
    guest.write(1, b"mine")
    guest.sandbox.load(image(), imports)
    gc.collect()
    guest.write(1, b"theirs")
    assert (taken, guest.sandbox.wasi_output()) == ([b"mine"], b"theirs")


def test_an_interrupt_by_a_callback_ends_the_call() -> None:
    guest: Guest

    def write(data: bytes) -> None:
        guest.sandbox.interrupt()

    guest = guest_of(stdout=write)
    with pytest.raises(husk.Interrupted):
        guest.write(1, b"x")


def test_a_deadline_passes_in_a_callback() -> None:
    def read(count: int) -> bytes:
        time.sleep(0.05)
        return b"late"

    guest = guest_of(stdin=read)
    guest.memory.write(64, b"\0\x10\0\0\4\0\0\0")
    with pytest.raises(husk.DeadlineExceeded):
        guest.sandbox.call("fd_read", 0, 64, 1, 128, timeout=0.01)


def test_one_set_of_callbacks_serves_many_sandboxes() -> None:
    taken: list[bytes] = []
    imports = husk.Imports()
    imports.wasi(husk.Wasi(stdout=taken.append))
    guests = [Guest(husk.Sandbox(image(), imports)) for _ in range(3)]
    del imports
    gc.collect()
    for place, guest in enumerate(guests):
        guest.write(1, b"%d" % place)
    assert taken == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ({"stdout": b"bytes"}, TypeError),
        ({"stderr": husk.AWAITED}, TypeError),
        ({"stdin": husk.BUFFER}, TypeError),
        ({"stdin": True}, TypeError),
        ({"stdin": 1.5}, TypeError),
        ({"stdin": -1}, ValueError),
        ({"stdin": 2**40}, ValueError),
        ({"stdin": io.StringIO("text")}, TypeError),
        ({"stdin": husk.Callback(read=3)}, TypeError),  # type: ignore[arg-type]
        ({"stdout": husk.Buffer(limit=-1)}, ValueError),
        ({"stdout": husk.Descriptor(1, 64)}, ValueError),  # type: ignore[arg-type]
        ({"args": "one string"}, TypeError),
        ({"args": [1]}, TypeError),
        ({"args": ["a\0b"]}, ValueError),
        ({"env": "A=b"}, TypeError),
        ({"env": {"A": 1}}, TypeError),
        ({"env": {"A=B": "c"}}, ValueError),
        ({"env": {"": "c"}}, ValueError),
        ({"env": {"A": "c\0"}}, ValueError),
        ({"clock": 5}, TypeError),
        ({"clock": husk.FixedClock(realtime_ns=-1)}, ValueError),
        ({"random_seed": 0}, ValueError),
        ({"random_seed": 2**64}, ValueError),
        ({"random_seed": "x"}, TypeError),
    ],
)
def test_what_is_wrong_is_refused(parts: dict[str, Any], error: type[Exception]) -> None:
    imports = husk.Imports()
    with pytest.raises(error):
        imports.wasi(husk.Wasi(**parts))
    guest = guest_of(stdin=b"kept")
    with pytest.raises(error):
        guest.sandbox.set_wasi(**parts)
    assert guest.read(0, 9) == b"kept"


def test_limits_of_the_library() -> None:
    with pytest.raises(husk.LimitError):
        guest_of(args=["x" * (16 << 20)])
    with pytest.raises(husk.LimitError):
        guest_of(open_max=65_537)
    with pytest.raises(husk.LimitError):
        guest_of(private_max_bytes=9 << 30)


# ---- set_wasi ----


def test_a_request_replaces_parts() -> None:
    guest = guest_of(args=["first", "x"], env={"A": "1"}, stdin=b"one", stdout=husk.BUFFER)
    guest.sandbox.set_wasi(stdin=b"two", args=["second"])
    assert (guest.read(0, 9), guest.args(), guest.environ()) == (b"two", [b"second"], [b"A=1"])
    guest.sandbox.set_wasi(env=["B=2", b"C=\xff"], stderr=husk.BUFFER, stdin=None)
    assert guest.environ() == [b"B=2", b"C=\xff"]
    assert errno_of(guest.read, 0, 1) == BADF
    guest.write(1, b"out")
    guest.write(2, b"err")
    assert guest.sandbox.wasi_output(1) == b"out"
    assert guest.sandbox.wasi_output(2) == b"err"
    guest.sandbox.set_wasi(args=[], env={})
    assert (guest.args(), guest.environ()) == ([], [])


def test_a_request_survives_a_restore() -> None:
    guest = guest_of(stdin=b"old")
    snapshot = guest.sandbox.snapshot()
    guest.sandbox.set_wasi(stdin=b"new", stdout=husk.BUFFER)
    guest.sandbox.restore(snapshot)
    assert guest.read(0, 9) == b"new"


def test_a_module_without_wasi_cannot_have_a_request() -> None:
    sandbox = husk.Sandbox(husk.compile(wat("(module)")))
    with pytest.raises(husk.NotFoundError):
        sandbox.set_wasi(args=["x"])
    with pytest.raises(husk.NotFoundError):
        sandbox.wasi_output()
    sandbox.close()
    with pytest.raises(husk.Error):
        sandbox.set_wasi(args=["x"])


def test_awaited_input_makes_the_call_pending() -> None:
    guest = guest_of(stdin=husk.AWAITED)
    with pytest.raises(husk.Pending):
        guest.read(0, 4)
    guest.sandbox.set_wasi(stdin=b"late")
    assert guest.sandbox.resume(again=True) == 0
    assert guest.memory.read(4096, 4) == b"late"


# ---- Clock, random numbers ----


def test_a_fixed_clock() -> None:
    guest = guest_of(clock=husk.FixedClock(realtime_ns=10**18, step_ns=7))
    first = guest.clock()
    assert first >= 10**18
    assert guest.clock() == first + 7
    guest.sandbox.set_wasi(clock=husk.FixedClock(realtime_ns=5, step_ns=1))
    assert guest.clock() < 10
    guest.sandbox.set_wasi(clock=husk.HostClock())
    assert guest.clock() > 10**18


def test_random_numbers_can_be_repeated() -> None:
    first, second = guest_of(random_seed=42), guest_of(random_seed=42)
    data = first.random(16)
    assert second.random(16) == data
    assert first.random(16) != data
    first.sandbox.set_wasi(random_seed=42)
    assert first.random(16) == data
    first.sandbox.set_wasi(random_seed=None)
    assert first.random(16) != second.random(16)


# ---- Directories ----


def test_host_directory(tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(b"from the host")
    guest = guest_of(dirs=[husk.Dir("/data", host=tmp_path, writable=True)])
    assert guest.read(guest.open(3, b"given"), 99) == b"from the host"
    guest.write(guest.open(3, b"made", creates=True), b"by the guest")
    assert (tmp_path / "made").read_bytes() == b"by the guest"
    assert errno_of(guest.open, 3, b"../outside") != 0


def test_directory_by_descriptor_that_only_reads(tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(b"x")
    fd = os.open(tmp_path, os.O_DIRECTORY)
    guest = guest_of(dirs=[husk.Dir("/data", host=fd)])
    os.close(fd)
    file = guest.open(3, b"given", writes=False)
    assert guest.read(file, 9) == b"x"
    with pytest.raises(WasiError):
        guest.open(3, b"made", creates=True)


def test_private_directories_are_a_part_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "below").write_bytes(b"host")
    (tmp_path / "gone").write_bytes(b"host")
    guest = guest_of(
        dirs=[
            husk.Dir("/cow", host=str(tmp_path), kind="cow", writable=True),
            husk.Dir("/mem", kind=husk.DirKind.MEM, writable=True),
        ],
        private_max_bytes=1 << 20,
        private_max_entries=100,
        open_max=8,
    )
    before = guest.sandbox.snapshot()
    assert before.files() == []
    guest.write(guest.open(3, b"below"), b"guest")
    guest.unlink(3, b"gone")
    guest.mkdir(4, b"folder")
    guest.write(guest.open(4, b"folder/file", creates=True), b"12345")
    guest.symlink(4, b"folder/file", b"link")
    snapshot = guest.sandbox.snapshot()
    check_files(snapshot.files())
    assert snapshot.info.files_bytes > 0
    assert (tmp_path / "below").read_bytes() == b"host"
    guest.sandbox.restore(before)
    assert guest.read(guest.open(3, b"below"), 9) == b"host"
    assert errno_of(guest.open, 4, b"folder/file") == NOENT
    snapshot.save(tmp_path / "snapshot.husk")
    check_files(husk.Image.open(tmp_path / "snapshot.husk").files())


def check_files(files: list[husk.File]) -> None:
    found = {(file.dir_idx, file.name): file for file in files}
    kinds = husk.FileKind
    names = [(0, "below"), (0, "gone"), (1, "folder"), (1, "folder/file"), (1, "link")]
    expected = [kinds.REGULAR, kinds.HIDDEN, kinds.DIRECTORY, kinds.REGULAR, kinds.SYMLINK]
    assert [found[name].kind for name in names] == expected
    file, link = found[1, "folder/file"], found[1, "link"]
    assert (file.size, file.links_count, file.target) == (5, 1, b"")
    assert file.mtime_ns > 10**18
    assert (link.target, link.path) == (b"folder/file", b"link")


def test_limits_of_private_directories() -> None:
    directory = husk.Dir("/mem", kind="mem", writable=True)
    guest = guest_of(dirs=[directory], private_max_bytes=65536, private_max_entries=3, open_max=5)
    file = guest.open(3, b"a", creates=True)
    with pytest.raises(WasiError):
        for _ in range(20):
            guest.write(file, b"x" * 8192)
    with pytest.raises(WasiError):
        for name in (b"b", b"c", b"d", b"e"):
            guest.close(guest.open(3, name, creates=True))


@pytest.mark.parametrize(
    ("directory", "error"),
    [
        (husk.Dir("/x"), ValueError),
        (husk.Dir("/x", host="/tmp", kind="mem"), ValueError),
        (husk.Dir("/x", host="/tmp", kind="other"), ValueError),
        (husk.Dir("/x", host="/nonexistent/husk"), OSError),
        (husk.Dir("/x\0", host="/tmp"), ValueError),
        (husk.Dir("/x", host="/tmp\0"), ValueError),
        (husk.Dir("/x", host=1.5), TypeError),  # type: ignore[arg-type]
        (husk.Dir("/x", host=2**31), ValueError),
        ("/tmp", TypeError),
    ],
)
def test_wrong_directories(directory: Any, error: Any) -> None:
    with pytest.raises(error):
        guest_of(dirs=[directory])


def test_directories_of_a_generator() -> None:
    guest = guest_of(dirs=(husk.Dir(f"/{name}", kind="mem", writable=True) for name in "ab"))
    guest.mkdir(4, b"folder")
    with pytest.raises(TypeError, match="Dir"):
        guest_of(dirs=husk.Dir("/a", kind="mem"))


def test_two_directories_of_one_name() -> None:
    with pytest.raises(ValueError, match="/x"):
        guest_of(dirs=[husk.Dir("/x", kind="mem"), husk.Dir("/x", kind="mem")])


# ---- Sockets ----


def test_a_listener(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        guest = guest_of(listeners=[husk.Listener(server)])
        client.connect(str(tmp_path / "socket"))
        connection = guest.accept(3)
        client.sendall(b"ping")
        assert guest.read(connection, 99) == b"ping"
        guest.write(connection, b"pong")
        assert client.recv(99) == b"pong"
        guest.close(connection)


def test_wrong_listeners() -> None:
    with pytest.raises(TypeError):
        guest_of(listeners=["x"])
    with pytest.raises(ValueError, match="listener"):
        guest_of(listeners=[husk.Listener(0)])


def test_streams_of_python_itself(capfd: pytest.CaptureFixture[str]) -> None:
    guest = guest_of(stdout=sys.__stdout__)
    guest.write(1, b"to the terminal")
    assert "to the terminal" in capfd.readouterr().out
