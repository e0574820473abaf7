"""The Python binding under load, beside the soak in C: threads with a sandbox each, whose answers
are checked against plain Python. Usage: python python_soak.py SECONDS [SEED]

What ends a call and what brings a state back is in random order: traps, limits, other threads,
snapshots that were saved and opened. At the end no descriptor and no thread may be left."""

import gc
import os
import random
import subprocess
import sys
import threading
import time

import husk

GUEST = """
(module
  (memory 1)
  (func (export "swap") (param i32 i64) (result i64) (local i64)
    (local.set 2 (i64.load (i32.shl (local.get 0) (i32.const 3))))
    (i64.store (i32.shl (local.get 0) (i32.const 3)) (local.get 1)) (local.get 2))
  (func (export "trap") unreachable)
  (func (export "spin") (loop $again (br $again))))
"""
CELLS, THREADS = 16, 3


class Actor:
    def __init__(self, image: husk.Image, seed: str) -> None:
        self.random = random.Random(seed)
        self.image = image
        self.steps = 0
        self.sandbox = husk.Sandbox(image)
        self.cells = [0] * CELLS
        self.saved: tuple[husk.Image, list[int]] = (image, [0] * CELLS)

    def close(self) -> None:
        self.sandbox.close()

    def swap(self) -> None:
        cell = self.random.randrange(CELLS)
        value = self.random.getrandbits(62)
        got = self.sandbox.call("swap", cell, value)
        assert got == self.cells[cell], f"cell {cell}: {got}, not {self.cells[cell]}"
        self.cells[cell] = value

    def restore(self) -> None:
        self.sandbox.restore(self.saved[0])
        self.cells = list(self.saved[1])

    def snapshot(self) -> None:
        image = self.sandbox.snapshot()
        if self.random.random() < 0.1:  # then it is another image, and restores to it remap memory
            image = husk.Image.open(image.to_bytes())
        self.saved = (image, list(self.cells))

    def renew(self) -> None:
        self.sandbox.close()
        self.sandbox = husk.Sandbox(self.saved[0])
        self.cells = list(self.saved[1])

    def trap(self) -> None:
        self.must_raise(husk.Trap, "trap")

    def deadline(self) -> None:
        self.must_raise(husk.DeadlineExceeded, "spin", timeout=self.random.random() / 200)
        self.restore()

    def interrupt(self) -> None:
        timer = threading.Timer(self.random.random() / 200, self.sandbox.interrupt)
        timer.start()
        self.must_raise(husk.Interrupted, "spin")
        timer.join()
        self.restore()

    def must_raise(self, kind: type[Exception], name: str, **limits: float) -> None:
        try:
            self.sandbox.call(name, **limits)
        except kind:
            return
        raise AssertionError(f"{name} returned")

    def step(self) -> None:
        rare = [self.snapshot, self.renew, self.trap, self.deadline, self.interrupt]
        take = self.random.choice([self.swap] * 12 + [self.restore] * 4 + rare)
        take()
        self.steps += 1


def run(image: husk.Image, seed: str, seconds: float) -> int:
    """Everything for so long, and what was made is closed. Returns the number of steps."""
    end = time.monotonic() + seconds
    actors = [Actor(image, f"{seed}/{i}") for i in range(THREADS)]
    wrong: list[BaseException] = []

    def act(actor: Actor) -> None:
        try:
            while time.monotonic() < end and not wrong:
                actor.step()
        except BaseException as error:  # the main thread tells
            wrong.append(error)
        finally:
            actor.close()

    threads = [threading.Thread(target=act, args=(actor,)) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
    return sum(actor.steps for actor in actors)


def left() -> tuple[int, int]:
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))


def main() -> None:
    seconds = float(sys.argv[1])
    seed = sys.argv[2] if len(sys.argv) > 2 else str(time.time_ns())
    print(f"python: seed {seed}", flush=True)
    command = ["wat2wasm", "-", "--output=-"]
    wasm = subprocess.run(command, input=GUEST.encode(), stdout=subprocess.PIPE, check=True).stdout
    image = husk.compile(wasm)
    run(image, f"{seed}/first", max(seconds / 5, 1))
    before = left()
    steps = run(image, seed, seconds * 4 / 5)
    after = left()
    print(f"python: {steps} steps; descriptors, threads: {after}, before {before}", flush=True)
    # The library keeps idle VMs, a few descriptors each, as many in every run.
    if after[0] > before[0] + 30 or after[1] > before[1]:
        sys.exit("python: something grew")


if __name__ == "__main__":
    main()
