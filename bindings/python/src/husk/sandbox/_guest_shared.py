# type: ignore
# ruff: noqa: SIM105
"""What guests of both kinds have in common. The host puts this text before that of
_standard_guest.py or _wasi_python_guest.py, and never imports it.
"""


def _husk_shared(ask):
    """The functions that code may call, and what serves a request. ask(): from the bytes of a
    question to those of its answer."""
    import gc
    import io
    import json
    import os
    import sys
    import types

    own_name = _husk_shared.__code__.co_filename

    # ---- What code may call ----

    def call_tool(name, /, **arguments):
        """Call a function that the host offers. Arguments and result are what JSON can say."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a tool is a str, not {type(name).__name__}")
        answer = json.loads(ask(name.encode() + b"\0" + json.dumps(arguments).encode()))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def http_get(url, **options):
        """Get what is at an address, if the host allows it."""
        return call_tool("http_get", url=url, **options)

    def http_post(url, body="", content_type="application/json", **options):
        """Send something to an address, if the host allows it."""
        return call_tool("http_post", url=url, body=body, content_type=content_type, **options)

    # ---- Files ----

    def clear(folder):
        """Make a folder empty. It is there afterwards, whatever code did to it."""
        if os.path.islink(folder) or not os.path.isdir(folder):
            if os.path.lexists(folder):
                os.unlink(folder)
            os.mkdir(folder)
        for path, folders, names in os.walk(folder, topdown=False):
            for name in names:
                os.unlink(os.path.join(path, name))
            for name in folders:
                whole = os.path.join(path, name)
                (os.unlink if os.path.islink(whole) else os.rmdir)(whole)

    file_types = io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom

    def flush_files():
        """Write what the code left in files that it did not close. Those of the snapshot are not
        among the objects that the collector lists."""
        for thing in gc.get_objects():
            if issubclass(type(thing), file_types):
                try:
                    thing.flush()
                except BaseException:  # it is closed, or the code's own
                    pass

    # ---- How programs end ----

    def report(error):
        """As CPython reports an exception that nobody caught. Returns the exit status."""
        where = error.__traceback__
        while where is not None and where.tb_frame.f_code.co_filename == own_name:
            where = where.tb_next
        error.__traceback__ = where
        if not isinstance(error, MemoryError):  # whose frames have the memory
            sys.last_exc = sys.last_value = error
            sys.last_type, sys.last_traceback = type(error), where
        try:
            try:
                sys.excepthook(type(error), error, where)
            except SystemExit:
                raise
            except BaseException as second:
                print("Error in sys.excepthook:", file=sys.stderr)
                sys.__excepthook__(type(second), second, second.__traceback__)
                print("\nOriginal exception was:", file=sys.stderr)
                sys.__excepthook__(type(error), error, where)
        except SystemExit as ending:
            return status_of(ending)
        except BaseException:
            pass  # standard error is gone, or the memory is
        return 1

    def status_of(ending):
        """The exit status that a SystemExit means."""
        code = ending.code
        if code is None:
            return 0
        if isinstance(code, int):
            return int.__and__(code, 0xFF)  # not that of a class of the code's
        try:
            if sys.stderr is not None:  # which print() takes for standard output
                print(code, file=sys.stderr)
        except BaseException:
            pass
        return 1

    return types.SimpleNamespace(
        functions=(call_tool, http_get, http_post),
        clear=clear,
        flush_files=flush_files,
        report=report,
        status_of=status_of,
    )
