"""What all tests use: modules from text, and images that are compiled once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from http_world import whole_world as whole_world
from http_world import world as world

import husk

Wat = Callable[[str], bytes]
Compile = Callable[..., husk.Image]


@pytest.fixture(scope="session")
def wat(tmp_path_factory: pytest.TempPathFactory) -> Wat:
    """A function from the text format to a module's bytes."""
    if shutil.which("wat2wasm") is None:
        pytest.skip("there is no wat2wasm: tools/install-deps test")
    folder = tmp_path_factory.mktemp("wat")
    known: dict[str, bytes] = {}

    def assemble(text: str) -> bytes:
        if text not in known:
            source, target = folder / "module.wat", folder / "module.wasm"
            source.write_text(text)
            command = ["wat2wasm", "--enable-all", "--debug-names", str(source), "-o", str(target)]
            subprocess.run(command, check=True)
            known[text] = target.read_bytes()
        return known[text]

    return assemble


@pytest.fixture(scope="session")
def image_of(wat: Wat) -> Compile:
    """A function from the text format to an image; each text is compiled once."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used")
    known: dict[tuple[str, str], husk.Image] = {}

    def compile_once(text: str, **options: object) -> husk.Image:
        key = (text, repr(sorted(options.items())))
        if key not in known:
            known[key] = husk.compile(wat(text), **{"level": 1, **options})  # type: ignore[arg-type]
        return known[key]

    return compile_once


@pytest.fixture
def descriptors() -> Callable[[], int]:
    """A function that counts this process's descriptors."""
    return lambda: len(list(Path("/proc/self/fd").iterdir()))
