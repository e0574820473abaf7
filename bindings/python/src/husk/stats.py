"""Counters of engines and sandboxes, and histograms of durations."""

from __future__ import annotations

import enum
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from husk._native import lib
from husk._visit import Visitor
from husk.errors import check
from husk.handles import new

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Stats:
    """Counts since an engine was made. Reading them stops nobody, so they may be a moment apart.

    Durations are in nanoseconds. `sandboxes`, `pool_idle`, `vms` and `hot_pages` are
    current numbers; all others only grow.
    """

    sandboxes_made: int
    sandboxes_freed: int
    vms_made: int
    vms_freed: int
    calls: int
    host_calls: int
    memory_grows: int
    traps: int
    """Calls that ended with husk.Trap; the next four likewise."""
    exits: int
    deadlines: int
    interrupts: int
    guest_violations: int
    poisonings_deadline: int
    """Sandboxes that became poisoned, by cause; the next four likewise."""
    poisonings_interrupt: int
    poisonings_guest_violation: int
    poisonings_vm_failure: int
    poisonings_restore_failure: int
    snapshots: int
    snapshot_pages: int
    restores: int
    restores_rebuilt: int
    """Restores that mapped new memory instead of copying pages back."""
    restore_failures: int
    restore_pages_copied: int
    restore_pages_aged: int
    restore_pages_hot: int
    """The sum of the hot set's sizes: divided by `restores`, the pages that one looks at."""
    loads_in_place: int
    loads_rebuilt: int
    loads_new_vm: int
    loads_from_snapshot: int
    unloads: int
    pool_hits: int
    """New sandboxes that found an idle VM."""
    pool_misses: int
    pool_drops: int
    memory_images_made: int
    memory_images_mapped: int
    snapshot_bytes: int
    restore_bytes_copied: int
    restore_ns: int
    snapshot_ns: int
    call_ns: int
    """Measured only by an engine with `measure_times`; so is `host_call_ns`."""
    host_call_ns: int
    sandboxes: int
    pool_idle: int
    vms: int
    hot_pages: int
    memory_searches: int
    uncaught_exceptions: int
    parks: int
    unparks: int
    spares_made: int
    """VMs that husk.Image.prepare made ahead."""
    spares_used: int
    spare_failures: int
    memory_refusals: int
    """`memory.grow` of guests that a limit refused."""


@dataclass(frozen=True)
class SandboxStats:
    """Counts of one sandbox since it was made, whatever was loaded in it.

    As in husk.Stats. `memory_bytes` (of all linear memories; 0 if nothing is loaded) and
    `hot_pages` are current numbers.
    """

    calls: int
    host_calls: int
    memory_grows: int
    traps: int
    exits: int
    deadlines: int
    interrupts: int
    guest_violations: int
    poisonings_deadline: int
    poisonings_interrupt: int
    poisonings_guest_violation: int
    poisonings_vm_failure: int
    poisonings_restore_failure: int
    snapshots: int
    snapshot_pages: int
    restores: int
    restore_failures: int
    restore_pages_copied: int
    loads_in_place: int
    loads_rebuilt: int
    loads_new_vm: int
    restore_ns: int
    snapshot_ns: int
    call_ns: int
    host_call_ns: int
    memory_bytes: int
    hot_pages: int
    uncaught_exceptions: int
    memory_refusals: int


class HistogramKind(enum.IntEnum):
    """Which durations a histogram counts. CALL and HOST_CALL need `measure_times`."""

    RESTORE = 0
    SNAPSHOT = 1
    CALL = 2
    HOST_CALL = 3


@dataclass(frozen=True)
class Histogram:
    """Durations by power of two.

    `buckets[i]` counts those above 2**i and up to 2**(i+1) ns. The first bucket also has all
    shorter ones, the last all longer ones.
    """

    count: int
    sum_ns: int
    buckets: tuple[int, ...]

    def bounds(self) -> Iterator[tuple[int, int]]:
        """Give the upper bound of each bucket in nanoseconds, and its count."""
        for place, count in enumerate(self.buckets):
            yield 2 << place, count

    @property
    def mean_ns(self) -> float:
        """The mean duration in nanoseconds; 0.0 if there was none."""
        return self.sum_ns / self.count if self.count else 0.0


# ---- For the classes of other files ----

_Counters = TypeVar("_Counters", Stats, SandboxStats)


def _counters(kind: type[_Counters], struct: Any) -> _Counters:
    return kind(**{field.name: getattr(struct, field.name) for field in fields(kind)})


def engine_stats(engine: Any) -> Stats:
    """Read the counters of a `husk_engine *`."""
    stats = new("husk_stats")
    check(lib.husk_engine_stats(engine, stats))
    return _counters(Stats, stats)


def sandbox_stats(sandbox: Any) -> SandboxStats:
    """Read the counters of a `husk_sandbox *`; any thread, also while a call runs."""
    stats = new("husk_sandbox_stats")
    check(lib.husk_sandbox_stats(sandbox, stats))
    return _counters(SandboxStats, stats)


def engine_histogram(engine: Any, kind: HistogramKind) -> Histogram:
    """Read one of the histograms of a `husk_engine *`."""
    histogram = new("husk_histogram")
    check(lib.husk_engine_histogram(engine, HistogramKind(kind), histogram))
    return Histogram(histogram.count, histogram.sum_ns, tuple(histogram.buckets))


def engine_prometheus(engine: Any) -> str:
    """Write the counters of a `husk_engine *` in the text format of Prometheus."""
    pieces: list[bytes] = []
    with Visitor(pieces.append) as visitor:
        check(lib.husk_engine_prometheus(engine, lib.husk_py_write, visitor.user))
    return b"".join(pieces).decode()
