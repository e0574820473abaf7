"""Looks at the interpreter before anything of the library is loaded."""

import sysconfig


def refuse_free_threaded() -> None:
    """Deliberately no free-threaded CPython: the checks for "one thread at a time" and the counts
    of buffers rely on the GIL, and a mistake there would corrupt memory without a word."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise ImportError(
            "husk does not support free-threaded CPython (a build with Py_GIL_DISABLED): "
            "use the ordinary build of the same version"
        )


refuse_free_threaded()
