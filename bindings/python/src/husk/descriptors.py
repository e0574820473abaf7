"""Room for descriptors: each sandbox has two, and the usual soft limit is 1,024.

Nobody asks for the soft limit on purpose, so the first sandbox that finds no room raises it to the
hard limit. If that is not enough, those that nobody refers to any more are freed: the collector of
garbage does not know of descriptors, and may come late. Then the error says so.
"""

from __future__ import annotations

import errno
import gc
import resource
from collections.abc import Callable
from typing import Any

from husk.errors import error_of


def _raise_soft_limit() -> bool:
    """True: there is more room now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return False
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return False
    return True


def check_with_room(make: Callable[[], int], err: Any) -> None:
    """Call a function of the library that opens descriptors, and check its status."""
    status = make()
    if status != 0 and err.sys_errno == errno.EMFILE and _raise_soft_limit():
        status = make()
    if status != 0 and err.sys_errno == errno.EMFILE:
        gc.collect()
        status = make()
    if status == 0:
        return
    error = error_of(status, err)
    if err.sys_errno == errno.EMFILE:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        error.add_note(
            f"A sandbox has two descriptors, and this process may have {hard} (RLIMIT_NOFILE, "
            "`ulimit -Hn`). Sandbox.park() gives the descriptors of one that waits back."
        )
    raise error
