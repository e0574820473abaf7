"""The handful of threads on which calls of asyncio run.

A job goes to the thread that ran its sandbox before, if that thread is free: some kernels take
milliseconds to move a virtual machine to another thread. Otherwise it goes to any free thread, and
if none is free, it waits.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

THREADS_MAX = min(8, (os.cpu_count() or 1) + 2)
_END_SECONDS = 2.0


class Job:
    """Something to run on a worker. `interrupt` ends it early, from any thread."""

    __slots__ = ("function", "interrupt", "is_over", "worker")

    def __init__(self, function: Callable[[], None], interrupt: Callable[[], None]) -> None:
        self.function = function
        self.interrupt = interrupt
        self.is_over = False
        self.worker: Worker | None = None


class Worker(threading.Thread):
    """A thread, with the job that it was given. A daemon: a guest that never ends must not keep the
    interpreter from ending."""

    def __init__(self, workers: Workers, job: Job) -> None:
        super().__init__(name="husk-worker", daemon=True)
        self._workers = workers
        self.job: Job | None = job
        self.wake = threading.Lock()  # of nobody: released when there is a job
        self.wake.acquire()

    def run(self) -> None:
        """Do jobs until the process ends."""
        while True:
            job = self.job
            if job is None:
                return
            job.function()
            job.is_over = True
            del job  # or it would live until the next one
            if self._workers.next_job(self) is None:
                self.wake.acquire()


class Workers:
    """The threads of this process. They are started when they are needed."""

    def __init__(self, threads_max: int = THREADS_MAX) -> None:
        self._lock = threading.Lock()
        self._threads_max = threads_max
        self._all: list[Worker] = []
        self._free: dict[Worker, None] = {}  # in the order in which they became free
        self._queue: deque[Job] = deque()
        self._last: weakref.WeakKeyDictionary[Any, Worker] = weakref.WeakKeyDictionary()
        self._is_ending = False

    def submit(self, key: Any, job: Job) -> None:
        """Run the job soon. `key`: jobs with the same one prefer the same thread."""
        with self._lock:
            if self._is_ending:
                raise RuntimeError("the interpreter is ending")
            worker = self._last.get(key)
            if worker not in self._free:
                worker = next(iter(self._free), None)
            if worker is not None:
                del self._free[worker]
                worker.job = job
                job.worker = worker
                worker.wake.release()
            elif len(self._all) < self._threads_max:
                worker = Worker(self, job)
                job.worker = worker
                worker.start()
                self._all.append(worker)
            else:
                self._queue.append(job)
            if worker is not None:
                self._last[key] = worker

    def withdraw(self, job: Job) -> bool:
        """Take back a job that has not begun. False: it has."""
        with self._lock:
            try:
                self._queue.remove(job)
            except ValueError:
                return False
            return True

    def next_job(self, worker: Worker) -> Job | None:
        """For a worker that has done its job."""
        with self._lock:
            if self._queue:
                worker.job = self._queue.popleft()
                worker.job.worker = worker
            else:
                worker.job = None
                self._free[worker] = None
            return worker.job

    def end(self) -> None:
        """At the interpreter's end: end what runs, and wait for it for a moment."""
        with self._lock:
            self._is_ending = True
            self._queue.clear()
            busy = [worker for worker in self._all if worker not in self._free]
        jobs = [worker.job for worker in busy]
        for job in jobs:
            if job is not None:
                job.interrupt()
        end = time.monotonic() + _END_SECONDS
        while time.monotonic() < end and any(worker not in self._free for worker in busy):
            time.sleep(0.001)


workers = Workers()


def _forget() -> None:
    """In a child made by fork(): its threads are not here."""
    global workers
    workers = Workers()


def _end() -> None:
    workers.end()


os.register_at_fork(after_in_child=_forget)
atexit.register(_end)
