"""Looks at the interpreter first of all."""

import sysconfig


def refuse_free_threaded() -> None:
    """Deliberately no free-threaded CPython: the checks for "one thread at a time" and the counts
    of buffers rely on the GIL, and a mistake there would corrupt memory without a word."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        raise ImportError(
            "husk does not support free-threaded CPython (a build with Py_GIL_DISABLED): "
            "use the ordinary build of the same version"
        )


def refuse_subinterpreters() -> None:
    """Deliberately no interpreters beside the main one: the library calls host functions, and
    Python finds the interpreter that a thread of C belongs to only if it is the main one."""
    from husk._fast import in_main_interpreter

    if not in_main_interpreter():
        raise ImportError("husk does not support subinterpreters: use threads, or processes")


refuse_free_threaded()
refuse_subinterpreters()
