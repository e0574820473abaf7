"""Calls of asyncio's tasks, host functions that are coroutines, cancellation."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Compile

import husk
from husk import aio
from husk.workers import THREADS_MAX

MODULE = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (import "env" "tell" (func $tell (param i32)))
  (memory (export "memory") 1 1 shared)
  (func (export "spin") (loop br 0))
  (func (export "wait") (param i32)
    (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0)
      (i64.mul (i64.const 1000000) (i64.extend_i32_u (local.get 0))))))
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)
  (func (export "ask") (param i32) (result i32) local.get 0 call $ask i32.const 1 i32.add)
  (func (export "sum") (param i32) (result i32) (local i32)
    (loop
      (local.set 1 (i32.add (local.get 1) (call $ask (local.get 0))))
      (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    local.get 1)
  (func (export "tell") (param i32) local.get 0 call $tell)
  (func (export "malloc") (param i32) (result i32) i32.const 1024)
  (func (export "bytes") (param i32 i32) (result i64)
    (i64.or (i64.const 1024)
      (i64.shl (i64.extend_i32_u (call $ask (local.get 1))) (i64.const 32))))
  (func (export "keep") (param i32) (i32.store (i32.const 0) (local.get 0)))
  (func (export "kept") (result i32) (i32.load (i32.const 0))))"""

Ask = Callable[[int], Any]


async def tells(_: int) -> None:
    await asyncio.sleep(0)


@pytest.fixture
def make(image_of: Compile) -> Callable[..., husk.Sandbox]:
    """A function that makes a sandbox with a host function env.ask."""

    def make(ask: Ask, tell: Any = tells) -> husk.Sandbox:
        imports = husk.Imports()
        imports.func("env", "ask", ask, params=["i32"], results=["i32"])
        imports.func("env", "tell", tell, params=["i32"], results=[])
        return husk.Sandbox(image_of(MODULE), imports)

    return make


Make = Callable[..., husk.Sandbox]


async def ten_times(x: int) -> int:
    await asyncio.sleep(0.001)
    return x * 10


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, 60))


# ---- Calls ----


def test_calls(make: Make) -> None:
    sandbox = make(ten_times)

    async def main() -> None:
        assert await sandbox.call_async("add", 2, 3) == 5
        assert await sandbox.call_async("ask", 4) == 41
        assert await sandbox.call_async("sum", 5) == 150
        assert await sandbox.call_async("tell", 1) is None
        assert await aio.call_bytes(sandbox, "bytes", b"abc") == b"abc" + bytes(27)
        with pytest.raises(husk.NotFoundError):
            await sandbox.call_async("nothing")
        with pytest.raises(husk.ValueTypeError):
            await sandbox.call_async("add", 1)
        with pytest.raises(TypeError):
            await sandbox.call_async("add", 1, 2, limits=husk.Limits(), timeout=1)
        assert sandbox.call("add", 2, 3) == 5  # on the loop's thread

    run(main())


def test_the_loop_goes_on_while_a_guest_runs(make: Make) -> None:
    sandbox = make(ten_times)

    async def main() -> None:
        ticks = 0
        call = asyncio.create_task(sandbox.call_async("spin", timeout=0.2))
        while not call.done():
            ticks += 1
            await asyncio.sleep(0.01)
        with pytest.raises(husk.DeadlineExceeded):
            await call
        assert ticks >= 5

    run(main())


@pytest.fixture
def little_room() -> Iterator[Callable[[int], None]]:
    """A function that sets both limits of descriptors; the second may stay."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(os.listdir("/proc/self/fd"))
    yield lambda soft: resource.setrlimit(
        resource.RLIMIT_NOFILE, (min(in_use + soft, before[1]), before[1])
    )
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_of_descriptors_is_raised(
    make: Make, little_room: Callable[[int], None]
) -> None:
    make(ten_times).close()  # the compiler needs room, too
    husk.default_engine().trim()  # idle VMs have their descriptors already
    little_room(5)
    sandboxes = [make(ten_times) for _ in range(8)]
    sandboxes.append(sandboxes[0].clone())
    sandboxes.append(husk.Sandbox.empty())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
    for sandbox in sandboxes:
        sandbox.close()


def test_no_room_for_descriptors_is_explained(image_of: Compile, tmp_path: Path) -> None:
    """In a process of its own: the hard limit cannot be raised again by everybody."""
    path = tmp_path / "image"
    image_of(MODULE).save(path)
    program = """
import gc, resource, sys
import husk
gc.disable()
image = husk.Image.open(sys.argv[1])
imports = husk.Imports(unknown="trap")
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
kept = []
try:
    for _ in range(30):
        kept.append(husk.Sandbox(image, imports))
except husk.SystemCallError as error:
    print(error.__notes__[0])
    kept.pop().close()
    kept.append(husk.Sandbox(image, imports))
    count = len(kept)
    kept.clear()  # garbage, which the collector has not seen yet
    for _ in range(count // 2):
        kept.append(husk.Sandbox(image, imports))
    print(count > 5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60
    )
    assert "may have 40 (RLIMIT_NOFILE" in done.stdout and done.stdout.endswith("True\n"), (
        done.stderr
    )


def test_many_sandboxes_wait_at_once_on_a_handful_of_threads(make: Make) -> None:
    count = int(os.environ.get("HUSK_TEST_SANDBOXES", "150"))

    async def main() -> None:
        all_wait = asyncio.Event()
        waiting = 0

        async def ask(x: int) -> int:
            nonlocal waiting
            waiting += 1
            if waiting == count:
                all_wait.set()
            await all_wait.wait()
            return x

        sandboxes = [make(ask) for _ in range(count)]
        calls = [sandbox.call_async("ask", i) for i, sandbox in enumerate(sandboxes)]
        assert await asyncio.gather(*calls) == [i + 1 for i in range(count)]
        names = [thread.name for thread in threading.enumerate()]
        assert 1 <= names.count("husk-worker") <= THREADS_MAX
        for sandbox in sandboxes:
            sandbox.close()

    run(main())


def test_one_task_at_a_time(make: Make) -> None:
    async def ask(x: int) -> int:
        await asyncio.sleep(0.05)
        return x

    sandbox = make(ask)

    async def main() -> None:
        first = asyncio.create_task(sandbox.call_async("ask", 1))
        await asyncio.sleep(0.02)
        with pytest.raises(husk.StateError, match="another task"):
            await sandbox.call_async("add", 1, 2)
        assert await first == 2
        assert await sandbox.call_async("add", 1, 2) == 3

    run(main())


# ---- Coroutines as host functions ----


def test_a_coroutine_may_call_its_own_sandbox(make: Make) -> None:
    async def ask(x: int) -> int:
        inner = aio.current()
        return int(await inner.call_async("add", x, 100)) + int(inner.call("add", 1, 1))

    sandbox = make(ask)

    async def main() -> None:
        assert await sandbox.call_async("ask", 7) == 7 + 100 + 2 + 1
        with pytest.raises(LookupError):
            aio.current()

    run(main())


def test_a_coroutine_inside_a_nested_call_is_refused(make: Make) -> None:
    async def ask(x: int) -> int:
        return int(await aio.current().call_async("ask", x))

    sandbox = make(ask)

    async def main() -> None:
        with pytest.raises(husk.StateError, match="inside another"):
            await sandbox.call_async("ask", 1)
        sandbox.restore(sandbox.image)
        assert await sandbox.call_async("add", 1, 2) == 3

    run(main())


def test_a_coroutine_needs_a_task(make: Make, recwarn: pytest.WarningsRecorder) -> None:
    sandbox = make(ten_times)
    with pytest.raises(husk.StateError, match="call_async"):
        sandbox.call("ask", 1)
    gc.collect()
    assert not [w for w in recwarn if "never awaited" in str(w.message)]

    class Asks:
        async def __call__(self, x: int) -> int:
            return x * 3

    assert run(make(Asks()).call_async("ask", 2)) == 7
    with pytest.raises(TypeError, match="Caller"):
        husk.Imports().func("env", "f", ten_times, params=["i32"], results=["i32"], caller=True)


class Trial(Exception):
    pass


def test_exceptions_go_through_the_guest(make: Make) -> None:
    error = Trial("x")

    async def ask(x: int) -> int:
        await asyncio.sleep(0)
        raise error

    sandbox = make(ask)

    async def main() -> None:
        with pytest.raises(Trial) as caught:
            await sandbox.call_async("ask", 1)
        assert caught.value is error
        assert any(entry.name == "ask" for entry in caught.traceback)
        sandbox.restore(sandbox.image)
        assert await sandbox.call_async("add", 1, 2) == 3

    run(main())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("text", TypeError), (None, TypeError), ((1, 2), TypeError), (1 << 70, Exception)],
)
def test_answers_that_do_not_fit(make: Make, answer: Any, expected: type[Exception]) -> None:
    async def ask(_: int) -> Any:
        return answer

    async def tell(_: int) -> Any:
        return 1

    sandbox = make(ask, tell)

    async def main() -> None:
        with pytest.raises(expected):
            await sandbox.call_async("ask", 1)
        assert sandbox.pending is None
        sandbox.restore(sandbox.image)
        with pytest.raises(TypeError):
            await sandbox.call_async("tell", 1)

    run(main())


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration, TimeoutError, husk.Trap])
def test_odd_exceptions(make: Make, kind: type[Exception]) -> None:
    """StopIteration cannot leave a coroutine, nor a future."""

    async def raises_later(_: int) -> int:
        raise kind

    def raises(_: int) -> int:
        raise kind

    for ask in (raises_later, raises):
        sandbox = make(ask)
        expected = RuntimeError if kind is StopIteration else kind
        if kind is StopAsyncIteration and ask is raises_later:
            expected = RuntimeError
        with pytest.raises((expected, kind)):
            run(sandbox.call_async("ask", 1))


def test_a_coroutine_may_end_the_guest(make: Make) -> None:
    async def ask(_: int) -> int:
        raise husk.Exited(3)

    with pytest.raises(husk.Exited) as caught:
        run(make(ask).call_async("ask", 1))
    assert caught.value.code == 3


def test_a_pending_function_of_the_callers_own(make: Make) -> None:
    sandbox = make(lambda _: husk.PENDING)

    async def main() -> None:
        with pytest.raises(husk.Pending):
            await sandbox.call_async("ask", 1)
        assert sandbox.resume(5) == 6

    run(main())


# ---- Limits ----


def test_a_deadline_ends_the_wait_for_a_coroutine(make: Make) -> None:
    ended: list[BaseException] = []

    async def ask(x: int) -> int:
        try:
            await asyncio.sleep(60)
        except BaseException as error:
            ended.append(error)
            raise
        return x

    sandbox = make(ask)

    async def main() -> None:
        passed = threading.Event()
        begun = time.monotonic()
        with pytest.raises(husk.DeadlineExceeded):
            await sandbox.call_async("ask", 1, limits=husk.Limits(wall=0.1, passed=passed.set))
        assert 0.1 <= time.monotonic() - begun < 5
        assert passed.is_set()
        assert isinstance(ended[0], asyncio.CancelledError)
        sandbox.restore(sandbox.image)
        assert await sandbox.call_async("add", 1, 2) == 3

    run(main())


def test_a_deadline_passes_between_two_coroutines(make: Make) -> None:
    async def ask(x: int) -> int:
        time.sleep(0.002)  # the loop hears of the limit too late
        return x

    for _ in range(20):
        sandbox = make(ask)
        with pytest.raises(husk.DeadlineExceeded):
            run(sandbox.call_async("sum", 1000, timeout=0.01))


def test_a_token_of_the_callers_own_ends_the_call(make: Make) -> None:
    async def ask(x: int) -> int:
        await asyncio.sleep(x / 1000)
        return x

    sandbox = make(ask)
    cancel = husk.Cancel()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, cancel.cancel)
        with pytest.raises(husk.Interrupted):
            await sandbox.call_async("spin", limits=husk.Limits(cancel=cancel))
        sandbox.restore(sandbox.image)
        with pytest.raises(husk.Interrupted):
            await sandbox.call_async("ask", 1, limits=husk.Limits(cancel=cancel))
        sandbox.restore(sandbox.image)
        assert await sandbox.call_async("ask", 1) == 2

    run(main())


# ---- Cancellation ----


@pytest.mark.parametrize(("name", "args"), [("spin", ()), ("wait", (60000,)), ("ask", (1,))])
def test_cancelling_a_task_ends_its_guest(make: Make, name: str, args: tuple[int, ...]) -> None:
    async def ask(x: int) -> int:
        await asyncio.sleep(60)
        return x

    sandbox = make(ask)

    async def main() -> None:
        was_poisoned = False
        for seconds in (0.02, 0.05, 0.2):
            task = asyncio.create_task(sandbox.call_async(name, *args))
            await asyncio.sleep(seconds)
            task.cancel("because")
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert sandbox.pending is None and sandbox.awaits is None
            try:  # the guest may not have begun
                assert await sandbox.call_async("add", 1, 2) == 3
            except husk.PoisonedError:
                was_poisoned = True
            sandbox.restore(sandbox.image)
            assert await sandbox.call_async("add", 1, 2) == 3
        assert was_poisoned

    run(main())


def test_asyncio_timeout(make: Make) -> None:
    sandbox = make(ten_times)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await sandbox.call_async("spin")
        sandbox.restore(sandbox.image)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(sandbox.call_async("spin"), 0.05)
        sandbox.restore(sandbox.image)
        async with asyncio.timeout(10):
            assert await sandbox.call_async("ask", 1) == 11

    run(main())


def test_a_cancelled_task_that_waits_for_a_worker_ends_at_once(make: Make) -> None:
    sandboxes = [make(ten_times) for _ in range(THREADS_MAX + 2)]

    async def main() -> None:
        tasks = [asyncio.create_task(sandbox.call_async("spin")) for sandbox in sandboxes]
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        for task in tasks[THREADS_MAX:]:
            task.cancel()
        await asyncio.wait(tasks[THREADS_MAX:])
        assert time.monotonic() - begun < 1
        for sandbox in sandboxes[THREADS_MAX:]:  # their guests never ran
            assert sandbox.call("add", 1, 2) == 3
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(main())


@pytest.mark.parametrize("closes", [False, True])
def test_a_loop_ends_with_calls_in_flight(make: Make, closes: bool) -> None:
    async def ask(x: int) -> int:
        await asyncio.sleep(60)
        return x

    sandboxes = [make(ask) for _ in range(3)]

    async def main() -> list[asyncio.Task[Any]]:
        names = ("spin", "ask", "wait")
        args: tuple[tuple[int, ...], ...] = ((), (1,), (60000,))
        tasks = [
            asyncio.create_task(sandbox.call_async(name, *values))
            for name, sandbox, values in zip(names, sandboxes, args, strict=True)
        ]
        await asyncio.sleep(0.05)
        return tasks

    if closes:  # as nobody should
        loop = asyncio.new_event_loop()
        tasks = loop.run_until_complete(main())
        loop.set_exception_handler(lambda *_: None)
        loop.close()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        del tasks, task, loop
        gc.collect()
    else:
        asyncio.run(main())
    for sandbox in sandboxes:
        end = time.monotonic() + 10
        while True:
            try:
                sandbox.restore(sandbox.image)
                break
            except husk.StateError:
                assert time.monotonic() < end, "the guest runs for ever"
                time.sleep(0.01)
        sandbox.awaits = None
        assert sandbox.call("add", 1, 2) == 3


def test_several_loops(make: Make) -> None:
    wrong: list[Any] = []

    def loop(number: int) -> None:
        async def main() -> None:
            sandbox = make(ten_times)
            for i in range(30):
                result = await sandbox.call_async("ask", i + number)
                if result != (i + number) * 10 + 1:
                    wrong.append(result)

        asyncio.run(main())

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_interpreter_ends_with_calls_in_flight(image_of: Compile, tmp_path: Path) -> None:
    path = tmp_path / "image"
    image_of(MODULE).save(path)
    program = """
import asyncio, sys, threading, time
import husk
image = husk.Image.open(sys.argv[1])
imports = husk.Imports(unknown="trap")
sandboxes = [husk.Sandbox(image, imports) for _ in range(3)]
def run(sandbox):
    asyncio.run(sandbox.call_async("spin"))
for sandbox in sandboxes:
    threading.Thread(target=run, args=(sandbox,), daemon=True).start()
time.sleep(0.2)
print("end")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr


def test_nothing_is_kept(make: Make) -> None:
    sandbox = make(ten_times)

    async def main(rounds: int) -> None:
        for i in range(rounds):
            assert await sandbox.call_async("ask", i) == i * 10 + 1
            task = asyncio.create_task(sandbox.call_async("spin"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            sandbox.restore(sandbox.image)

    async def objects() -> int:
        await main(5)
        gc.collect()
        return len(gc.get_objects())

    before = run(objects())
    run(main(100))
    assert run(objects()) - before < 100


def test_random_cancellation_of_one_sandbox(make: Make) -> None:
    """A call that follows a cancelled one is whole."""
    sandbox = make(ten_times)
    rng = random.Random(1)

    async def main() -> None:
        for i in range(300):
            task = asyncio.create_task(sandbox.call_async("sum", 3))
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            try:
                assert await sandbox.call_async("add", i, 2) == i + 2
            except husk.PoisonedError:
                sandbox.restore(sandbox.image)

    run(main())
