# type: ignore
# ruff: noqa: F821, SIM105
"""What runs inside CPython as a WASI command. The host gives this file's text as its program, and
never imports it.

A command has one call, so the snapshot is taken in the middle of it: where door(NEXT) asks for the
first request. This CPython has no import for the host's functions. But posix_fadvise() becomes the
call `fd_advise` of four numbers, and advice about standard input means nothing: the host serves
those itself. _standard_wire.py has the other side.
"""


def main():
    import builtins
    import gc
    import importlib
    import io
    import json
    import linecache
    import os
    import random
    import sys
    import traceback
    import types

    next_op, tool_op, fetch_op, file_op = 1, 2, 3, 4
    advise, content_at = os.posix_fadvise, bytes.__basicsize__ - 1
    advice_error = OSError

    def door(op, box):
        """Ask the host, which reads and writes the content of `box`. False: it needs more room."""
        try:
            advise(0, op << 32 | id(box) + content_at, len(box), 0)
        except advice_error:
            return False
        return True

    def ask(tool_question):
        # bytes that nobody else has: the host writes into them
        box = len(tool_question).to_bytes(8, "little") + tool_question + bytes(4096)
        if not door(tool_op, box):
            box = bytes(8 + int.from_bytes(box[:8], "little"))
            if not door(fetch_op, box):
                raise RuntimeError("the host has lost the answer")
        return box[8 : 8 + int.from_bytes(box[:8], "little")]

    shared = _husk_shared(ask)
    functions, clear, flush_files = shared.functions, shared.clear, shared.flush_files
    report, status_of = shared.report, shared.status_of

    def send_files(folder):
        for path, _folders, names in os.walk(folder):
            for name in sorted(names):
                whole = os.path.join(path, name)
                if not os.path.isfile(whole) or os.path.islink(whole):
                    continue
                with open(whole, "rb") as file:
                    content = file.read()
                label = os.fsencode(os.path.relpath(whole, folder))
                door(file_op, len(label).to_bytes(8, "little") + label + content)

    # Generators that were made before the snapshot would draw the same numbers in each request.
    generators = []

    def find_generators():
        found = [random._inst]
        for thing in gc.get_objects():
            is_plain = isinstance(thing, random.Random)
            if is_plain and not isinstance(thing, random.SystemRandom) and thing is not found[0]:
                found.append(thing)
        generators[:] = found

    def reseed(seed):
        for place, generator in enumerate(generators):
            generator.seed(int.from_bytes(seed, "little") + place)

    def show(kind, error, where):
        """sys.excepthook. CPython's own shows no lines of code that is in no file."""
        try:
            traceback.print_exception(kind, error, where)
        except BaseException:  # of memory, for example
            print(kind.__name__, file=own_streams[1])

    def run(code, namespace):
        """Run code. Returns its exit code, and whether memory ran out."""
        lines = code.splitlines(True)
        linecache.cache["<string>"] = (len(code), None, lines, "<string>")
        try:
            exec(compile(code, "<string>", "exec"), namespace)
        except SystemExit as error:
            return status_of(error), False
        except BaseException as error:
            return report(error), isinstance(error, MemoryError)
        return 0, False

    module = types.ModuleType("__main__")
    namespace = module.__dict__
    own_streams = sys.stdout, sys.stderr

    def begin_session():
        namespace["__builtins__"] = builtins
        helpers = {function.__name__: function for function in functions}
        namespace.update(helpers)
        sys.modules["__main__"] = module
        host = types.ModuleType("hyperlight")
        host.__dict__.update(helpers)
        sys.modules["hyperlight"] = host
        sys.argv[:] = ["-c"]
        sys.excepthook = sys.__excepthook__ = show
        sys.stdin = io.StringIO()

    def flush():
        used = (getattr(sys, name, None) for name in ("stdout", "stderr"))  # code may delete them
        for stream in (*used, *own_streams):
            try:
                stream.flush()
            except BaseException:
                pass

    def buffer_lines(lines):
        try:  # the code of a session may have closed them
            for stream in own_streams:
                if stream.line_buffering != lines:
                    stream.reconfigure(line_buffering=lines)
        except BaseException:
            pass

    def serve(box):
        code, is_memory = 0, False
        while True:
            box = box if len(box) <= 1 << 20 else bytes(1 << 16)
            # The host reads the answer to the last request there, before it writes the next one.
            answer = code | is_memory << 8
            if not door(next_op | answer << 8, box):
                box = bytes(int.from_bytes(box[:8], "little"))
                door(fetch_op, box)
            flags, code_count = box[0], int.from_bytes(box[8:16], "little")
            seed, text = box[16:48], box[48 : 48 + code_count].decode("utf-8", "surrogatepass")
            try:
                if flags & 1:
                    reseed(seed)
                if flags & 4:
                    clear("/output")
                buffer_lines(bool(flags & 8))
            except BaseException as error:
                code, is_memory = report(error), isinstance(error, MemoryError)
            else:
                code, is_memory = run(text, namespace)
            flush()
            if flags & 2:
                try:
                    flush_files()
                    send_files("/output")
                except BaseException as error:
                    code = report(error)
                    flush()

    # /input is a directory of the host's. The root, which is the guest's own, shows it, too.
    root = os.open("/", os.O_RDONLY)
    os.mkdir("input", dir_fd=root)
    os.close(root)
    os.mkdir("/output")
    os.mkdir("/tmp")
    for name in json.loads(sys.argv[1]):
        importlib.import_module(name)
    begin_session()
    # What a first request would load, or a first exception.
    run("import sys\nsum(range(3))\nf'{1.5:.2f}'", {})
    try:
        raise ValueError
    except ValueError as error:
        "".join(traceback.format_exception(error))
    json.loads(json.dumps({"a": [1.5, "b", None]}))
    find_generators()
    # Else a collection soon after each restore would write to nearly every page.
    gc.collect()
    gc.freeze()
    serve(bytes(1 << 16))


main()
