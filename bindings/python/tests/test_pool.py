"""Pools of sandboxes, for threads and for tasks."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Compile

import husk
from husk.workers import THREADS_MAX

MODULE = """(module
  (import "env" "ask" (func $ask (param i32) (result i32)))
  (memory (export "memory") 1 4)
  (func (export "spin") (loop br 0))
  (func (export "trap") unreachable)
  (func (export "ask") (param i32) (result i32) local.get 0 call $ask i32.const 1 i32.add)
  (func (export "count") (result i32)
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
    (i32.load (i32.const 0)))
  (func (export "work") (param i32 i32) (result i32)
    (i32.store (i32.const 64) (local.get 0))
    (loop
      (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 3)))
      (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
    (i32.load (i32.const 64))))"""


async def ask(x: int) -> int:
    await asyncio.sleep(0.001)
    return x * 10


@pytest.fixture
def make(image_of: Compile) -> Iterator[Callable[..., husk.Pool]]:
    """A function that makes a pool."""
    made: list[husk.Pool] = []

    def make(size: int, **options: Any) -> husk.Pool:
        imports = husk.Imports()
        imports.func("env", "ask", ask, params=["i32"], results=["i32"])
        made.append(husk.Pool(image_of(MODULE), size, imports, **options))
        return made[-1]

    yield make
    for pool in made:
        pool.close()


Make = Callable[..., husk.Pool]


def run(main: Any) -> Any:
    return asyncio.run(asyncio.wait_for(main, 120))


def test_each_use_begins_with_the_snapshot(make: Make, image_of: Compile) -> None:
    pool = make(1)
    for _ in range(3):
        assert pool.call("count") == 1
        with pool.take() as sandbox:
            assert [sandbox.call("count") for _ in range(3)] == [1, 2, 3]
    with pool.take() as sandbox:
        sandbox.call("count")
        snapshot = sandbox.snapshot()
    imports = husk.Imports()
    imports.func("env", "ask", ask, params=["i32"], results=["i32"])
    with husk.Pool(snapshot, 2, imports) as later:
        assert [later.call("count") for _ in range(4)] == [2] * 4


def test_after_calls_that_did_not_return(make: Make) -> None:
    pool = make(1)
    with pool.take() as first:
        pass
    for _ in range(3):
        with pytest.raises(husk.Trap):
            pool.call("trap")
        with pytest.raises(husk.DeadlineExceeded):
            pool.call("spin", timeout=0.01)
        with pool.take() as sandbox:
            assert sandbox is first
            assert sandbox.call("count") == 1
    with pytest.raises(ZeroDivisionError), pool.take():
        raise ZeroDivisionError
    assert pool.idle == 1


def test_a_sandbox_that_cannot_be_restored_is_replaced(make: Make) -> None:
    pool = make(1)
    with pool.take() as first:
        first.close()
    with pool.take() as second:
        assert second is not first
        assert second.call("count") == 1
        second.unload()
    assert pool.call("count") == 1
    assert pool.idle == 1


def test_a_held_buffer_keeps_its_memory(make: Make) -> None:
    pool = make(1)
    held = []
    with pytest.raises(BufferError), pool.take() as sandbox:
        sandbox.call("count")
        held.append(sandbox.memory.buffer(0, 4))
    assert pool.idle == 1
    assert pool.call("count") == 1  # in another one
    assert bytes(held[0]) == b"\1\0\0\0"
    del sandbox
    gc.collect()
    assert bytes(held[0]) == b"\1\0\0\0"
    held.clear()
    gc.collect()

    async def main() -> None:
        with pytest.raises(BufferError):
            async with pool.take_async() as sandbox:
                held.append(sandbox.memory.buffer(0, 4))
        assert await pool.call_async("count") == 1

    run(main())


def test_odd_arguments(make: Make, image_of: Compile) -> None:
    for size in (0, -1):
        with pytest.raises(ValueError, match="at least one"):
            make(size)
    with pytest.raises(husk.LinkError):
        husk.Pool(image_of(MODULE), 2)
    with pytest.raises(husk.LimitError):
        make(2, memory_max=1)
    pool = make(1)
    with pytest.raises(husk.NotFoundError):
        pool.call("nothing")
    with pytest.raises(husk.PoolTimeout), pool.take(), pool.take(timeout=0):
        pass
    with pool.take(timeout=0):
        pass


def test_who_waits_longest_is_served_first(make: Make) -> None:
    pool = make(1)
    order: list[int] = []

    def wait(number: int) -> None:
        with pool.take():
            order.append(number)

    threads = [threading.Thread(target=wait, args=(i,)) for i in range(8)]
    with pool.take():
        for i, thread in enumerate(threads):
            thread.start()
            while pool.waiting != i + 1:
                time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_threads_and_tasks_wait_in_one_queue(make: Make) -> None:
    pool = make(1)
    order: list[int] = []

    async def wait(number: int) -> None:
        async with pool.take_async():
            order.append(number)

    def wait_here(number: int) -> None:
        with pool.take():
            order.append(number)

    async def main() -> None:
        tasks = []
        async with pool.take_async():
            for i in range(8):
                if i % 2 == 0:
                    tasks.append(asyncio.create_task(wait(i)))
                else:
                    tasks.append(asyncio.create_task(asyncio.to_thread(wait_here, i)))
                while pool.waiting != i + 1:
                    await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)

    run(main())
    assert order == list(range(8))


def test_those_who_give_up_lose_no_sandbox(make: Make) -> None:
    """Time-outs and cancellations race with sandboxes that are given back."""
    pool = make(2)
    rng = random.Random(2)

    async def use(i: int) -> None:
        try:
            async with pool.take_async(timeout=rng.choice([None, 0, 0.001, 0.003])) as sandbox:
                assert await sandbox.call_async("count") == 1
        except husk.PoolTimeout:
            pass

    def use_here() -> None:
        for _ in range(50):
            try:
                with pool.take(timeout=rng.choice([0, 0.001, 0.01])) as sandbox:
                    assert sandbox.call("count") == 1
            except husk.PoolTimeout:
                pass

    async def main() -> None:
        thread = asyncio.create_task(asyncio.to_thread(use_here))
        for _ in range(30):
            tasks = [asyncio.create_task(use(i)) for i in range(10)]
            await asyncio.sleep(rng.random() * 0.004)
            for task in tasks:
                if rng.random() < 0.5:
                    task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError), result
        await thread

    run(main())
    assert (pool.idle, pool.waiting) == (2, 0)


def test_closing_while_in_use(make: Make) -> None:
    pool = make(2)
    ended: list[Exception] = []

    def wait() -> None:
        try:
            pool.call("count")
        except husk.StateError as error:
            ended.append(error)

    with pool.take() as first, pool.take() as second:
        thread = threading.Thread(target=wait)
        thread.start()
        while pool.waiting != 1:
            time.sleep(0.001)
        pool.close()
        pool.close()
        thread.join()
        assert len(ended) == 1
        assert first.call("count") == 1 and second.call("count") == 1
    assert first.is_closed and second.is_closed
    with pytest.raises(husk.StateError):
        pool.call("count")

    async def main() -> None:
        with pytest.raises(husk.StateError):
            await pool.call_async("count")
        later = make(1)
        async with later.take_async():
            task = asyncio.create_task(later.call_async("count"))
            while later.waiting != 1:
                await asyncio.sleep(0.001)
            later.close()
            with pytest.raises(husk.StateError):
                await task

    run(main())


def test_a_loop_that_is_closed_gets_no_sandbox(make: Make) -> None:
    pool = make(1)
    with pool.take():
        loop = asyncio.new_event_loop()
        task = loop.create_task(pool.call_async("count"))
        while pool.waiting != 1:
            loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert pool.idle == 1
    assert pool.call("count") == 1


def test_tasks(make: Make) -> None:
    pool = make(3)

    async def main() -> None:
        assert await asyncio.gather(*[pool.call_async("ask", i) for i in range(40)]) == [
            i * 10 + 1 for i in range(40)
        ]
        assert await asyncio.gather(*[pool.call_async("count") for _ in range(40)]) == [1] * 40

    run(main())
    assert pool.idle == 3


def test_a_forked_child_is_refused(make: Make) -> None:
    pool = make(1)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pool.call("count")
        except husk.StateError:
            pool.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.call("count") == 1


# ---- Cancellation at random moments ----

CANCELLED = int(os.environ.get("HUSK_TEST_CANCELLATIONS", "1000"))


def test_cancellations_hurt_no_strangers_call(make: Make) -> None:
    """In a pool of two, with more callers than sandboxes. A victim is cancelled before, during or
    after its call; a stranger never is, and must get its own answer."""
    pool = make(2)
    counts = {"cancelled": 0, "whole": 0, "strangers": 0}

    async def stranger(rng: random.Random, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            begin, rounds = rng.randrange(1000), rng.randrange(1, 30000)
            if rng.random() < 0.2:
                assert await pool.call_async("ask", begin) == begin * 10 + 1
            else:
                assert await pool.call_async("work", begin, rounds) == begin + 3 * rounds
            counts["strangers"] += 1

    async def victims(rng: random.Random, number: int) -> None:
        for _ in range(number):
            begin, rounds = rng.randrange(1000), rng.randrange(1, 30000)
            name = rng.choice(["work", "ask", "spin"])
            args = {"work": (begin, rounds), "ask": (begin,), "spin": ()}[name]
            task = asyncio.create_task(pool.call_async(name, *args))
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0 if rng.random() < 0.5 else rng.random() * 0.002)
            task.cancel()
            try:
                result = await task
            except asyncio.CancelledError:
                counts["cancelled"] += 1
            else:
                assert result == {"work": begin + 3 * rounds, "ask": begin * 10 + 1}[name]
                counts["whole"] += 1

    async def main() -> None:
        is_over = asyncio.Event()
        strangers = [asyncio.create_task(stranger(random.Random(i), is_over)) for i in range(2)]
        lanes = [victims(random.Random(10 + i), CANCELLED // 4) for i in range(4)]
        await asyncio.gather(*lanes)
        is_over.set()
        await asyncio.gather(*strangers)

    asyncio.run(main())
    assert counts["cancelled"] + counts["whole"] == CANCELLED // 4 * 4
    assert counts["cancelled"] >= CANCELLED // 4 and counts["strangers"] >= 10
    assert (pool.idle, pool.waiting) == (2, 0)
    assert [pool.call("count") for _ in range(3)] == [1, 1, 1]


def test_a_task_that_is_cancelled_while_workers_are_busy_loses_no_sandbox(
    make: Make,
) -> None:
    """Giving a sandbox back waits for a worker, and is not withdrawn with the task."""
    pool = make(2)

    async def use(begun: asyncio.Event, ends: asyncio.Event) -> None:
        async with pool.take_async():
            begun.set()
            await ends.wait()

    async def main() -> None:
        busy = [husk.Sandbox(pool.image, husk.Imports(unknown="trap")) for _ in range(THREADS_MAX)]
        begun, ends = asyncio.Event(), asyncio.Event()
        user = asyncio.create_task(use(begun, ends))
        await begun.wait()
        spins = [asyncio.create_task(one.call_async("spin", timeout=0.5)) for one in busy]
        await asyncio.sleep(0.1)
        ends.set()
        await asyncio.sleep(0.05)
        user.cancel()
        await asyncio.gather(user, *spins, return_exceptions=True)
        for one in busy:
            one.close()

    run(main())
    assert (pool.idle, pool.waiting) == (2, 0)


def test_a_loop_that_is_closed_gives_its_sandboxes_back(make: Make) -> None:
    pool = make(2)
    loop = asyncio.new_event_loop()
    tasks = [loop.create_task(pool.call_async("spin")) for _ in range(3)]
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    del task, tasks, loop
    end = time.monotonic() + 10
    while (pool.idle, pool.waiting) != (2, 0) and time.monotonic() < end:
        time.sleep(0.1)
        gc.collect()  # the tasks are parts of cycles of asyncio
    assert (pool.idle, pool.waiting) == (2, 0)
    assert pool.call("count") == 1
