"""Modules from the text format."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

needs_kvm = pytest.mark.skipif(
    not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="/dev/kvm cannot be used"
)


@cache
def wat(text: str, *flags: str) -> bytes:
    """Assemble a module with wat2wasm of wabt. `flags` are further options of it."""
    if shutil.which("wat2wasm") is None:
        pytest.skip("there is no wat2wasm: tools/install-deps test", allow_module_level=True)
    with tempfile.TemporaryDirectory(prefix="husk-wat-") as folder:
        output = Path(folder, "module.wasm")
        subprocess.run(
            ["wat2wasm", "--enable-all", *flags, "-o", str(output), "-"],
            input=text.encode(),
            check=True,
        )
        return output.read_bytes()


def big_module(functions: int = 400) -> bytes:
    """A module that takes a moment to compile: above the 4 KiB that are compiled at once."""
    body = "(i32.add (i32.mul (local.get 0) (i32.const {n})) (i32.const {n}))"
    funcs = "".join(
        f'(func (export "f{n}") (param i32) (result i32) {body.format(n=n)})'
        for n in range(functions)
    )
    return wat(f"(module {funcs})")
