"""The makers of random modules. Each makes a job from a seed alone, so that the seed is all that it takes to make it again."""
import os
import pathlib
import random
import shutil
import subprocess
import sys

import engines

# What Husk accepts. Not reference types: older versions of wasm-opt make modules with them that the standard does not allow. Not SIMD: there are few
# such instructions, older versions leave the NaNs of vectors open, and the host function that logs a v128 cannot be one of JavaScript's. gen-vectors has
# them all.
FEATURES = ["bulk-memory", "sign-ext", "nontrapping-float-to-int", "mutable-globals", "multivalue"]


class Maker:
    """name: in reports; in_bounds: whether no load or store of its modules leaves its memory; may_miss: as in engines.Job."""

    def __init__(self, name, in_bounds, make, may_miss=True):
        self.name, self.in_bounds, self.make, self.may_miss = name, in_bounds, make, may_miss

    def job(self, seed, folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "input.wasm"
        origin = self.make(seed, path, self.in_bounds)
        calls = pathlib.Path(f"{path}.calls")
        listed = calls if calls.exists() else None
        return engines.Job(f"{self.name}-{seed}", path, seed, listed, in_bounds=self.in_bounds, may_miss=self.may_miss, origin=origin)


def run(command):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    if done.returncode != 0:
        raise engines.Failed(f"{pathlib.Path(command[0]).name} ended with status {done.returncode}: {done.stderr.strip()[-400:]}")


def translated(*flags):
    """wasm-opt translates random bytes to a valid module. --denan: no NaN gets anywhere, so that its bits, which are open, cannot tell.
    --no-fuzz-oob masks the addresses, but not for certain: wasm-opt may put another expression in the place of a masked one afterwards. So
    no module of its is called in bounds."""

    def make(seed, path, _):
        rng = random.Random(seed)
        noise = path.with_suffix(".noise")
        noise.write_bytes(rng.randbytes(rng.choice([300, 1000, 3000, 6000, 12000])))
        command = ["wasm-opt", "-ttf", str(noise), "-o", str(path), "--denan", *[f"--enable-{f}" for f in FEATURES], *flags]
        command += rng.choice([[], [], ["-O2"], ["-O3"], ["--flatten"]])
        run(command)
        return f"wasm-opt -ttf, {' '.join(command[5:])}"

    return make


def generated(program):
    def make(seed, path, in_bounds):
        command = [sys.executable, str(engines.HERE / program), str(seed), str(path)]
        command += [] if in_bounds else ["--out-of-bounds"]
        run(command)
        return " ".join([f"tests/diff/{program}", str(seed), "OUT.wasm", *command[4:]])

    return make


def makers():
    result = []
    if shutil.which("wasm-opt") is not None:
        result += [Maker("ttf", False, translated("--no-fuzz-oob")), Maker("ttf-oob", False, translated())]
    for program in ("gen-exceptions", "gen-loops", "gen-tails", "gen-touches", "gen-traps", "gen-unrolled", "gen-vectors", "gen-atomics"):
        if (engines.HERE / program).exists():
            name = program.partition("-")[2]
            may_miss = name != "touches"
            result += [Maker(name, True, generated(program)), Maker(f"{name}-oob", False, generated(program), may_miss)]
    return result
