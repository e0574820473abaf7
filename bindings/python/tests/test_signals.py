"""Signals while the main thread runs a guest."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Compile, Wat

import husk

MODULE = """(module
  (import "env" "host" (func $host))
  (import "env" "ask" (func $ask (result i32)))
  (memory (export "memory") 1 1 shared)
  (func (export "spin") (loop br 0))
  (func (export "wait")
    (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))
  (func (export "hosted") call $host)
  (func (export "asked") (result i32) call $ask (loop br 0) )
  (func (export "bytes") (param i32 i32) (result i64) (loop br 0) i64.const 0)
  (func (export "malloc") (param i32) (result i32) i32.const 16)
  (func (export "work") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (i32.mul (local.get 1) (i32.const 3)) (local.get 0)))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    local.get 1))"""

SECONDS_MAX = 0.05


class Trial(Exception):
    """What a handler of these tests raises."""


def main_thread() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident


def to_main() -> None:
    signal.pthread_kill(main_thread(), signal.SIGINT)


def to_itself() -> None:
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def to_process() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Sender:
    """Sends a signal from another thread, 30 ms later."""

    def __init__(self, send: Callable[[], None] = to_itself) -> None:
        self.sent_at = 0.0
        self._send = send
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        time.sleep(0.03)
        self.sent_at = time.monotonic()
        self._send()
        time.sleep(0.03)  # this thread takes it

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    """Also where the tests run in a shell's background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def sandbox(image_of: Compile) -> Iterator[husk.Sandbox]:
    imports = husk.Imports()
    made: list[husk.Sandbox] = []
    imports.func("env", "host", lambda: made[0].call("spin"), params=[], results=[])
    imports.func("env", "ask", lambda: husk.PENDING, params=[], results=["i32"])
    made.append(husk.Sandbox(image_of(MODULE), imports))
    yield made[0]
    made[0].close()


@pytest.fixture
def handler() -> Iterator[Callable[[Callable[..., object]], None]]:
    """A function that sets the handler of SIGINT for a test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda function: (signal.signal(signal.SIGINT, function), None)[1]
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("send", [to_main, to_itself, to_process])
@pytest.mark.parametrize("name", ["spin", "wait", "hosted"])
def test_ctrl_c_ends_a_guest(sandbox: husk.Sandbox, name: str, send: Callable[[], None]) -> None:
    took = []
    was_poisoned = False
    for _ in range(3):
        with Sender(send) as sender, pytest.raises(KeyboardInterrupt):
            sandbox.call(name)
        took.append(time.monotonic() - sender.sent_at - 0.03)
        try:
            sandbox.call("work", 1)  # on a busy machine, the guest may not have begun
        except husk.PoisonedError:
            was_poisoned = True
        sandbox.restore(sandbox.image)
        assert sandbox.call("work", 1) == 1
    assert was_poisoned and min(took) < SECONDS_MAX


def test_ctrl_c_ends_all_kinds_of_calls(sandbox: husk.Sandbox) -> None:
    def resumed() -> None:
        with pytest.raises(husk.Pending):
            sandbox.call("asked")
        sandbox.resume(1)

    for run in (
        lambda: sandbox.call("spin", limits=husk.Limits(wall=60)),
        lambda: sandbox.call("spin", timeout=60),
        lambda: sandbox.call_many("spin", [()]),
        lambda: sandbox.call_bytes("bytes", b"x"),
        lambda: sandbox.call_func(sandbox.func_ref("spin")),
        lambda: sandbox.exports.spin(),
        resumed,
    ):
        with Sender(), pytest.raises(KeyboardInterrupt):
            run()
        sandbox.restore(sandbox.image)


def test_a_handler_that_returns_lets_the_guest_go_on(
    sandbox: husk.Sandbox, handler: Callable[[Callable[..., object]], None]
) -> None:
    rounds = 150_000_000
    seen: list[float] = []
    delays = []
    handler(lambda *_: seen.append(time.monotonic()))
    expected = sandbox.call("work", rounds)
    for _ in range(3):  # the machine may be busy
        seen.clear()
        begun = time.monotonic()
        with Sender() as sender:
            assert sandbox.call("work", rounds) == expected
            ended = time.monotonic()
        assert begun < seen[0] < ended, "the call was too short for this test"
        delays.append(seen[0] - sender.sent_at)
        if delays[-1] < SECONDS_MAX:
            break
    assert 0 <= min(delays) < SECONDS_MAX


def test_a_handler_that_raises_ends_the_call_with_its_exception(
    sandbox: husk.Sandbox, handler: Callable[[Callable[..., object]], None]
) -> None:
    error = Trial("from the handler")

    def fails(*_: object) -> None:
        raise error

    handler(fails)
    for name in ("spin", "wait", "hosted"):
        with Sender(), pytest.raises(Trial) as caught:
            sandbox.call(name)
        assert caught.value is error
        assert any(entry.name == "fails" for entry in caught.traceback)
        sandbox.restore(sandbox.image)


def test_a_handler_cannot_call_into_the_guest_that_it_interrupts(
    sandbox: husk.Sandbox, handler: Callable[[Callable[..., object]], None]
) -> None:
    handler(lambda *_: sandbox.call("work", 1))
    with Sender(), pytest.raises(husk.StateError):
        sandbox.call("spin")


def test_a_handler_may_use_another_sandbox(
    sandbox: husk.Sandbox, handler: Callable[[Callable[..., object]], None]
) -> None:
    other = sandbox.clone()
    seen: list[int] = []

    def calls(*_: object) -> None:
        seen.append(other.call("work", 1))
        raise Trial

    handler(calls)
    with Sender(), pytest.raises(Trial):
        sandbox.call("spin")
    assert seen == [1]


def test_deadlines_hold_while_handlers_return(
    sandbox: husk.Sandbox, handler: Callable[[Callable[..., object]], None]
) -> None:
    seen: list[int] = []
    handler(lambda number, _: seen.append(number))
    for name in ("spin", "wait"):
        with Sender(), pytest.raises(husk.DeadlineExceeded):
            sandbox.call(name, timeout=0.15)
        sandbox.restore(sandbox.image)
    assert len(seen) == 2


def test_another_thread_is_not_interrupted(sandbox: husk.Sandbox) -> None:
    """Python's signals are for the main thread, which waits here."""
    ended: list[BaseException] = []

    def run() -> None:
        try:
            sandbox.call("spin", timeout=0.3)
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    with Sender(), pytest.raises(KeyboardInterrupt):
        thread.join()
        time.sleep(1)
    thread.join()
    assert isinstance(ended[0], husk.DeadlineExceeded)


def test_a_child_made_by_fork_has_signals_of_its_own(sandbox: husk.Sandbox) -> None:
    """Its only thread is the main thread, whichever that was before."""
    image = sandbox.image.to_bytes()
    codes: list[int] = []

    def run() -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                imports = husk.Imports(husk.Engine(), unknown="trap")
                own = husk.Sandbox(husk.Image.open(image, engine=imports.engine), imports)
                with Sender(to_process):
                    own.call("spin", timeout=20)
            except KeyboardInterrupt:
                code = 0
            finally:
                os._exit(code)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert codes == [0]


def test_limits_are_for_any_thread(sandbox: husk.Sandbox) -> None:
    """The same object, used on another thread before: the main thread hears of signals all the
    same, and the other one keeps the limit."""
    limits = husk.Limits(wall=0.2)
    long = husk.Limits(wall=60)
    kinds: list[str] = []

    def run() -> None:
        assert sandbox.call("work", 1, limits=long) == 1
        try:
            sandbox.call("spin", limits=limits)
        except husk.DeadlineExceeded as error:
            kinds.append(error.limit)

    for _ in range(2):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        sandbox.restore(sandbox.image)
        with Sender(), pytest.raises(KeyboardInterrupt):
            sandbox.call("spin", limits=long)
        sandbox.restore(sandbox.image)
    assert kinds == ["wall", "wall"]


@pytest.mark.parametrize("send", [to_main, to_itself, to_process])
@pytest.mark.parametrize("is_cached", [False, True])
def test_ctrl_c_ends_a_compiling(
    is_cached: bool, send: Callable[[], None], wat: Wat, tmp_path: Path
) -> None:
    line = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 7)) (local.get 0)))"
    func = f"(func (param i32) (result i32) {line * 200} (local.get 0))"
    module = wat(f"(module {func * 200})")  # some seconds
    cache = tmp_path / "cache" if is_cached else None
    with Sender(send) as sender, pytest.raises(KeyboardInterrupt):
        husk.compile(module, cache=cache, level=3)
    assert time.monotonic() - sender.sent_at < 1


def test_a_handler_that_returns_lets_the_compiler_go_on(
    wat: Wat, handler: Callable[[Callable[..., object]], None]
) -> None:
    line = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 7)) (local.get 0)))"
    func = f"(func (param i32) (result i32) {line * 50} (local.get 0))"
    seen: list[float] = []
    handler(lambda *_: seen.append(time.monotonic()))
    module = wat(f"(module {func * 50})")
    with Sender() as sender:
        husk.compile(module, level=3)
        ended = time.monotonic()
    assert sender.sent_at < seen[0] < ended
    assert seen[0] - sender.sent_at < (ended - sender.sent_at) / 2


def test_a_progress_function_that_raises_ends_the_compiling(wat: Wat) -> None:
    line = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 7)) (local.get 0)))"
    func = f"(func (param i32) (result i32) {line * 200} (local.get 0))"
    module = wat(f"(module {func * 200})")
    begun: list[float] = []

    def fails(*_: object) -> None:
        begun.append(time.monotonic())
        raise Trial

    with pytest.raises(Trial):
        husk.compile(module, level=3, progress=fails)
    assert len(begun) == 1 and time.monotonic() - begun[0] < 1


# ---- Calls of numbers, which husk._fast makes ----


@pytest.fixture
def plain(sandbox: husk.Sandbox) -> husk.Sandbox:
    """A sandbox whose next calls are plain ones: both functions were called before."""
    for name in ("spin", "hosted", "wait"):
        with pytest.raises(husk.DeadlineExceeded):
            sandbox.call(name, timeout=0.001)
        sandbox.restore(sandbox.image)
    assert sandbox.call("work", 1) == sandbox.call("work", 1) == 1
    return sandbox


@pytest.mark.parametrize("idle_seconds", [0, 1.3])
@pytest.mark.parametrize("name", ["spin", "wait"])
def test_ctrl_c_ends_a_plain_call(plain: husk.Sandbox, name: str, idle_seconds: float) -> None:
    """Another thread gets the signal, so only the period helps; after a pause, who keeps it sleeps
    at first."""
    took = []
    for _ in range(3):
        time.sleep(idle_seconds)
        ends = threading.Timer(5, plain.interrupt)
        ends.start()
        with Sender(to_itself) as sender, pytest.raises(KeyboardInterrupt):
            plain.call(name)
        took.append(time.monotonic() - sender.sent_at - 0.03)
        ends.cancel()
        plain.restore(plain.image)
    assert min(took) < SECONDS_MAX


def test_a_host_function_of_a_plain_call_is_left_alone(image_of: Compile) -> None:
    """A system call that signals end (usleep()) is whole, and the guest is interrupted after it."""
    usleep = ctypes.CDLL(None, use_errno=True).usleep
    slept: list[int] = []
    imports = husk.Imports(unknown="trap")
    imports.func("env", "host", lambda: slept.append(usleep(100_000)), params=[], results=[])
    module = """(module (import "env" "host" (func $host))
      (func (export "hosted") call $host) (func (export "spins") call $host (loop br 0)))"""
    with husk.Sandbox(image_of(module), imports) as sandbox:
        for _ in range(3):
            sandbox.call("hosted")
        assert slept == [0, 0, 0]
        with pytest.raises(husk.DeadlineExceeded):
            sandbox.call("spins", timeout=0.001)
        sandbox.restore(sandbox.image)
        ends = threading.Timer(5, sandbox.interrupt)
        ends.start()
        with Sender(to_itself), pytest.raises(KeyboardInterrupt):
            sandbox.call("spins")
        ends.cancel()
