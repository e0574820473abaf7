"""The Python that the tests of husk.sandbox run: CPython 3.12, fetched by name, version and hash by
tools/build-guests. Its snapshot is kept in the build folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest


def options() -> dict[str, Any]:
    """Options of a Sandbox for the guest, at the quick level. Skips where it cannot be had."""
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
