"""Counters, histograms, idle VMs and spares."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from wat import needs_kvm, wat

import husk

pytestmark = needs_kvm

MODULE = """(module
    (import "env" "host" (func $host))
    (memory (export "memory") 1 3)
    (tag $tag (export "tag") (param i32))
    (func (export "nop"))
    (func (export "touch") (i32.store (i32.const 0) (i32.const 1)))
    (func (export "call_host") (call $host))
    (func (export "trap") unreachable)
    (func (export "throw") (throw $tag (i32.const 7)))
    (func (export "loop") (loop $l (br $l)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1))))"""


@pytest.fixture
def engine() -> Iterator[husk.Engine]:
    with husk.Engine(measure_times=True, pool_max=2) as engine:
        yield engine


def sandbox_of(engine: husk.Engine, host: Any = lambda: None, **options: Any) -> husk.Sandbox:
    imports = husk.Imports(engine)
    imports.func("env", "host", host, params=[], results=[])
    image = husk.compile(wat(MODULE), level=0, engine=engine)
    return husk.Sandbox(image, imports, **options)


def end_in_each_way(sandbox: husk.Sandbox, snapshot: husk.Snapshot) -> None:
    for name, error, timeout in (
        ("trap", husk.Trap, None),
        ("throw", husk.GuestException, None),
        ("loop", husk.DeadlineExceeded, 0.01),
    ):
        with pytest.raises(error):
            sandbox.call(name, timeout=timeout)
        sandbox.restore(snapshot)
    sandbox.interrupt()
    with pytest.raises(husk.Interrupted):
        sandbox.call("loop")
    sandbox.restore(snapshot)


def test_counters_of_an_engine_and_a_sandbox(engine: husk.Engine) -> None:
    sandbox = sandbox_of(engine)
    sandbox.call("nop")
    snapshot = sandbox.snapshot()
    sandbox.call("call_host")
    assert [sandbox.call("grow") for _ in range(3)] == [1, 2, -1]
    sandbox.call("touch")
    sandbox.restore(snapshot)
    end_in_each_way(sandbox, snapshot)
    mine, whole = sandbox.stats(), engine.stats()
    assert mine.calls == whole.calls == 10
    assert (mine.host_calls, mine.memory_grows, mine.memory_refusals) == (1, 2, 1)
    assert (mine.traps, mine.deadlines, mine.interrupts) == (1, 1, 1)
    assert (mine.uncaught_exceptions, mine.poisonings_deadline) == (1, 1)
    assert (mine.snapshots, mine.restores) == (1, 5)
    assert mine.call_ns > mine.host_call_ns > 0
    assert mine.restore_ns > 0
    assert mine.snapshot_ns > 0
    assert mine.memory_bytes == 65536
    for name, value in asdict(mine).items():
        if name not in ("memory_bytes", "hot_pages"):
            assert getattr(whole, name) == value, name


def test_sandboxes_and_pool(engine: husk.Engine) -> None:
    sandboxes = [sandbox_of(engine) for _ in range(4)]
    assert engine.stats().sandboxes == 4
    for sandbox in sandboxes:
        sandbox.close()
    stats = engine.stats()
    assert (stats.sandboxes, stats.sandboxes_made, stats.sandboxes_freed) == (0, 4, 4)
    assert (stats.pool_idle, stats.pool_drops, stats.pool_misses) == (2, 2, 4)
    sandbox_of(engine).close()
    assert engine.stats().pool_hits == 1
    engine.trim()
    assert (engine.stats().pool_idle, engine.stats().vms) == (0, 0)
    engine.trim(2**32 - 1)
    for wrong in (-1, 2**32, 1.5, "x"):
        with pytest.raises((ValueError, TypeError, OverflowError)):
            engine.trim(wrong)  # type: ignore[arg-type]


def test_parking_is_counted(engine: husk.Engine) -> None:
    sandbox = sandbox_of(engine)
    sandbox.park()
    assert sandbox.is_parked
    sandbox.call("nop")
    assert not sandbox.is_parked
    assert (engine.stats().parks, engine.stats().unparks) == (1, 1)


def test_histograms(engine: husk.Engine) -> None:
    sandbox = sandbox_of(engine, host=lambda: time.sleep(0.002))
    for _ in range(5):
        sandbox.call("call_host")
    snapshot = sandbox.snapshot()
    sandbox.restore(snapshot)
    calls = engine.histogram(husk.HistogramKind.CALL)
    assert (calls.count, sum(calls.buckets), len(calls.buckets)) == (5, 5, 40)
    assert calls.mean_ns > 2e6
    assert sum(count for bound, count in calls.bounds() if bound > 2_000_000) == 5
    assert engine.histogram(husk.HistogramKind.HOST_CALL).count == 5
    assert engine.histogram(husk.HistogramKind.SNAPSHOT).count == 1
    assert engine.histogram(husk.HistogramKind.RESTORE).count == 1
    assert husk.Histogram(0, 0, ()).mean_ns == 0
    with pytest.raises(ValueError, match="9"):
        engine.histogram(9)  # type: ignore[arg-type]


def test_prometheus(engine: husk.Engine) -> None:
    sandbox = sandbox_of(engine, label="first")
    sandbox.call("nop")
    text = engine.prometheus()
    assert "husk_calls_total 1\n" in text
    assert 'husk_sandbox_calls_total{sandbox="first"} 1\n' in text
    sandbox.set_label("second")
    assert 'sandbox="second"' in engine.prometheus()
    sandbox.set_label(None)
    with pytest.raises(husk.LimitError):
        sandbox.set_label("x" * 129)
    for wrong in ("a\nb", "a\0b"):
        with pytest.raises(ValueError, match="label"):
            sandbox.set_label(wrong)


def test_spares(engine: husk.Engine) -> None:
    image = husk.compile(wat("(module)"), engine=engine)
    husk.prepare(image, 2)
    end = time.monotonic() + 10
    while engine.stats().spares_made < 2:
        assert time.monotonic() < end
        time.sleep(0.01)
    husk.Sandbox(image).close()
    assert engine.stats().spares_used == 1
    husk.prepare(image, 0)
    with pytest.raises(husk.LimitError):
        husk.prepare(image, 2000)


def test_memory_images(engine: husk.Engine) -> None:
    first, second = sandbox_of(engine), sandbox_of(engine)
    first.memory.write(4096, b"shared")
    with first.memory.image(4096, 8192) as image:
        assert (image.size, len(image)) == (8192, 8192)
        second.memory.map(image, 16384)
        second.memory.map(image, 32768, offset=4096, count=4096)
    assert second.memory.read(16384, 6) == b"shared"
    second.memory.write(16384, b"S")
    first.memory.write(4096, b"F")
    assert (first.memory.read(4096, 2), second.memory.read(16384, 2)) == (b"Fh", b"Sh")
    stats = engine.stats()
    assert (stats.memory_images_made, stats.memory_images_mapped) == (1, 2)
    with pytest.raises(husk.StateError):
        second.memory.map(image, 0)


@pytest.mark.parametrize(
    ("place", "error"),
    [((1, 4096), ValueError), ((0, 0), ValueError), ((0, 1 << 30), husk.LimitError),
     ((-4096, 4096), ValueError), ((2**64, 4096), ValueError), (("x", 4096), TypeError)],
)  # fmt: skip
def test_wrong_ranges_of_memory_images(
    engine: husk.Engine, place: tuple[Any, Any], error: type[Exception]
) -> None:
    sandbox = sandbox_of(engine)
    with pytest.raises(error):
        sandbox.memory.image(*place)
    image = sandbox.memory.image(0, 4096)
    with pytest.raises(error):
        sandbox.memory.map(image, place[0], count=place[1])
    with pytest.raises(husk.LimitError):
        sandbox.memory.map(image, 0, offset=8192, count=4096)
    with pytest.raises(TypeError):
        sandbox.memory.map("image", 0)  # type: ignore[arg-type]


def test_an_image_of_another_engine(engine: husk.Engine) -> None:
    image = sandbox_of(engine).memory.image(0, 4096)
    with husk.Engine() as other, pytest.raises(husk.InvalidArgumentError):
        sandbox_of(other).memory.map(image, 0)
