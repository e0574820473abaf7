"""Signals that come at any moment, once a millisecond, and whose handlers raise: each call gives
its own result, or what the handler raised, and whatever was interrupted can be used afterwards."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import Compile

import husk

MODULE = """(module
  (import "env" "host" (func $host (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\08\\00\\00\\00")
  (global $count (mut i32) (i32.const 0))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "count") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count))
  (func (export "hosts") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (call $host (local.get 0))))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func (export "read") (result i32)
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)))
  (func (export "spin") (loop br 0)))"""


class Storm(Exception):
    """What the handler raises."""


class Sky:
    """A storm of SIGALRM. `raises`: how often the handler raises while `is_open`."""

    def __init__(self, raises: float) -> None:
        self.raises = raises
        self.is_open = False
        self.count = 0
        self.calls: Callable[[], object] | None = None

    def handle(self, *_: object) -> None:
        self.count += 1
        if not self.is_open:
            return
        calls, self.calls = self.calls, None  # not while a handler does
        if calls is not None:
            calls()
            self.calls = calls
        if random.random() < self.raises:
            raise Storm


@pytest.fixture
def storm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], Sky]]:
    """A function that begins a storm. Python itself loses what is raised in its own callbacks, such
    as those of weak references, and tells this hook."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    before = signal.getsignal(signal.SIGALRM)

    def begin(raises: float) -> Sky:
        sky = Sky(raises)
        signal.signal(signal.SIGALRM, sky.handle)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        return sky

    yield begin
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def imports() -> husk.Imports:
    made = husk.Imports()
    made.func("env", "host", lambda x: x, params=["i32"], results=["i32"])
    made.wasi(husk.Wasi(stdin=lambda count: b"x" * count))
    return made


def rounds(sky: Sky, work: Callable[[], object], heal: Callable[[], object]) -> int:
    """Work in the storm for a while. Returns how often the handler ended it."""
    storms = 0
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        try:
            try:
                sky.is_open = True
                work()
            finally:
                sky.is_open = False
        except Storm:
            storms += 1
        except husk.PoisonedError:
            heal()
    return storms


@pytest.mark.parametrize(
    "name", ["add", "limits", "many", "hosts", "read", "restore", "memory", "new"]
)
def test_handlers_raise(name: str, image_of: Compile, storm: Callable[[float], Sky]) -> None:
    sandbox = husk.Sandbox(image_of(MODULE), imports())
    ready = sandbox.snapshot()

    def restored() -> None:
        sandbox.restore(ready)
        assert sandbox.call("count") == 1

    def memory() -> None:
        sandbox.memory.write(512, b"abc")
        assert sandbox.memory.read(512, 3) == b"abc"

    def new() -> None:
        with sandbox.clone() as other:
            assert other.call("add", 1, 2) == 3

    def equal(expected: object, call: Callable[[], object]) -> Callable[[], None]:
        def check() -> None:
            assert call() == expected

        return check

    work = {
        "add": equal(7, lambda: sandbox.call("add", 3, 4)),
        "limits": equal(7, lambda: sandbox.call("add", 3, 4, timeout=5)),
        "many": equal([3, 7], lambda: sandbox.call_many("add", [(1, 2), (3, 4)])),
        "hosts": equal(55, lambda: sandbox.call("hosts", 10)),
        "read": equal(8, lambda: sandbox.call("read")),
        "restore": restored,
        "memory": memory,
        "new": new,
    }[name]
    assert rounds(storm(0.5), work, lambda: sandbox.restore(ready)) > 0
    sandbox.restore(ready)
    assert sandbox.call("count") == 1


def test_a_pool_loses_no_sandbox(image_of: Compile, storm: Callable[[float], Sky]) -> None:
    with husk.Pool(image_of(MODULE), 2, imports()) as pool:

        def work() -> None:
            assert pool.call("count") == 1

        assert rounds(storm(0.5), work, lambda: None) > 0
        assert (pool.idle, pool.waiting) == (2, 0)


def test_a_pool_that_others_use_loses_no_sandbox(
    image_of: Compile, storm: Callable[[float], Sky]
) -> None:
    """The main thread waits most of the time."""
    with husk.Pool(image_of(MODULE), 1, imports()) as pool:
        is_over = threading.Event()

        def other() -> None:
            while not is_over.is_set():
                assert pool.call("count") == 1

        def work() -> None:
            assert pool.call("count") == 1

        threads = [threading.Thread(target=other) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            assert rounds(storm(0.5), work, lambda: None) > 0
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        assert (pool.idle, pool.waiting) == (1, 0)


def test_handlers_use_the_pool_that_they_interrupt(
    image_of: Compile, storm: Callable[[float], Sky]
) -> None:
    with husk.Pool(image_of(MODULE), 2, imports()) as pool:

        def work() -> None:
            assert pool.call("count") == 1

        sky = storm(0)
        sky.calls = work
        assert rounds(sky, work, lambda: None) == 0
        assert sky.count > 0 and (pool.idle, pool.waiting) == (2, 0)


def test_what_a_handler_raised_survives_other_handlers(
    image_of: Compile, storm: Callable[[float], Sky]
) -> None:
    """Handlers use another sandbox while a call that a handler has ended raises that."""
    sandbox = husk.Sandbox(image_of(MODULE), imports())
    other = sandbox.clone()
    sky = storm(0.1)

    def calls() -> None:
        assert other.call("add", 1, 2) == 3

    def spin() -> None:
        try:
            sandbox.call("spin")
        finally:
            sandbox.restore(sandbox.image)

    sky.calls = calls
    assert rounds(sky, spin, lambda: sandbox.restore(sandbox.image)) > 0


def test_handlers_cancel_the_token_that_they_interrupt(storm: Callable[[float], Sky]) -> None:
    sky = storm(0)

    def work() -> None:
        token = husk.Cancel()
        children = [token.child() for _ in range(20)]
        sky.calls = token.cancel
        token.cancel()
        sky.calls = None
        assert all(child.is_cancelled for child in children)

    assert rounds(sky, work, lambda: None) == 0
