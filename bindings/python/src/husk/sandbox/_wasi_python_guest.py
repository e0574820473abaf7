# type: ignore
# ruff: noqa: F821, I001
"""What runs inside the guest. The host sends this file's text, and never imports it.

_husk_ready() is called once, before the snapshot. It puts serve() in the place of the function that
the module's export `turn` calls. From then on each turn is one request: _wasi_python_wire.py says
how a request is laid out.
"""


def _husk_ready(imports, warm, inbox_bytes, outbox_bytes):
    import _host
    import _reactor
    import builtins
    import gc
    import importlib
    import io
    import json
    import linecache
    import os
    import random
    import sys
    import types

    code_name = "<string>"
    is_seeded, is_fetched, is_live = 1, 2, 4  # flags of a request
    head_bytes = 48
    cannot_flush = 120  # the exit status of CPython's own program for that

    # ---- The door to the host ----

    # A message is: one byte for its kind, four for the count of bytes, the bytes. The host puts the
    # answer in the same place: four bytes for the count, the bytes. If there is no room for all of
    # them, it keeps them, and is asked again with more room.
    inbox = bytearray(inbox_bytes)
    outbox = bytearray(outbox_bytes)

    def ask(kind, data):
        count = len(data)
        box = outbox if count + 5 <= len(outbox) else bytearray(count + 5)
        box[:5] = kind + count.to_bytes(4, "little")
        box[5 : 5 + count] = data
        _host.call(box)
        count = int.from_bytes(box[:4], "little")
        if count + 4 > len(box):
            box = bytearray(count + 4)
            box[:1] = b"m"
            _host.call(box)
        return bytes(box[4 : 4 + count])

    shared = _husk_shared(lambda question: ask(b"t", question))
    functions, clear, flush_files = shared.functions, shared.clear, shared.flush_files
    report, status_of = shared.report, shared.status_of

    # ---- Files ----

    has_input = []  # the files of the request before

    def write_files(files, data):
        place = 0
        for path, count in files:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data[place : place + count])
            place += count

    def send_files(folder):
        """Give the host the files of a folder: the name of each, then what is in it, in pieces."""
        for path, _folders, names in os.walk(folder, topdown=False):
            for name in sorted(names):
                whole = os.path.join(path, name)
                if os.path.isfile(whole) and not os.path.islink(whole):
                    ask(b"f", os.fsencode(os.path.relpath(whole, folder)))
                    with open(whole, "rb") as file:
                        while piece := file.read(1 << 20):
                            ask(b"d", piece)
                os.unlink(whole)
            if path != folder:
                os.rmdir(path)

    # ---- Random numbers ----

    # Generators that were made before the snapshot would draw the same numbers in each request, so
    # each gets a seed of the request. Those made later take theirs from the host.
    generators = []

    def find_generators():
        gc.unfreeze()
        states = sys.modules.get("numpy.random")
        for thing in [random._inst, *gc.get_objects()]:
            if any(thing is one for one, _reseed in generators):
                continue
            if isinstance(thing, random.Random) and not isinstance(thing, random.SystemRandom):
                generators.append((thing, reseed_plain))
            elif states is not None and isinstance(thing, states.RandomState):
                generators.append((thing, reseed_state))
            elif states is not None and isinstance(thing, states.Generator):
                generators.append((thing, reseed_generator))
        if states is not None and not any(
            one is states.mtrand._rand for one, _reseed in generators
        ):
            generators.append((states.mtrand._rand, reseed_state))

    def words(number):
        return [number >> shift & 0xFFFFFFFF for shift in range(0, 288, 32)]

    def reseed_plain(generator, number):
        generator.seed(number)

    def reseed_state(generator, number):
        generator.seed(words(number))

    def reseed_generator(generator, number):
        bits = generator.bit_generator
        bits.state = type(bits)(words(number)).state

    def reseed(seed):
        number = int.from_bytes(seed, "little")
        for place, (generator, reseed_it) in enumerate(generators):
            reseed_it(generator, number + (place << 256))
        names = sys.modules.get("tempfile")
        if names is not None:
            names._name_sequence = None

    # ---- How programs end ----

    own_streams = []

    def buffer_lines(lines):
        try:  # the code of a session may have closed them
            for stream in own_streams:
                if stream.line_buffering != lines:
                    stream.reconfigure(line_buffering=lines)
        except BaseException:
            pass

    def flush():
        is_whole = True
        for name in ("stdout", "stderr"):
            try:
                stream = getattr(sys, name, None)  # code may delete it
                if stream is not None and not stream.closed:
                    stream.flush()
            except BaseException:
                is_whole = False
        return is_whole

    def execute(text):
        try:
            code = compile(text, code_name, "exec", 0, True)
            linecache._register_code(code, text, code_name)
            exec(code, sys.modules["__main__"].__dict__)
        except SystemExit as ending:
            return status_of(ending), False
        except BaseException as error:
            return report(error), isinstance(error, MemoryError)
        return 0, False

    # ---- Requests ----

    def serve(source, environ):
        head = bytes(inbox[:head_bytes])
        body = inbox
        counts = [int.from_bytes(head[place : place + 4], "little") for place in (32, 36, 40, 44)]
        options_count, code_count, files_count, flags = counts
        start, options = head_bytes, None
        try:
            if flags & is_fetched:
                body, start = bytearray(options_count + code_count + files_count), 0
                body[:1] = b"r"
                _host.call(body)
            code_start, files_start = start + options_count, start + options_count + code_count
            if has_input:
                clear("/input")
            if options_count:
                options = json.loads(body[start:code_start])
                has_input[:] = options["files"]
                if options["output"]:
                    clear("/output")
                write_files(options["files"], body[files_start : files_start + files_count])
            text = body[code_start:files_start].decode("utf-8", "surrogatepass")
            del body
            if flags & is_seeded:
                reseed(head[:32])
            buffer_lines(bool(flags & is_live))
        except BaseException as error:
            status, has_no_memory = report(error), isinstance(error, MemoryError)
        else:
            status, has_no_memory = execute(text)
        if not flush() and status == 0:
            status = cannot_flush
        if options is not None and options["output"]:
            try:
                flush_files()
                send_files("/output")
            except BaseException as error:
                status = report(error)
                flush()
        return status, has_no_memory  # the module adds 256 for True

    # ---- What is made before the snapshot ----

    def stream(descriptor, name, errors):
        raw = io.FileIO(descriptor, "wb", closefd=False)
        raw.name = name
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", errors, "\n")

    def put(text):
        """A request as the host makes it, for serve() itself."""
        code = text.encode()
        counts = b"".join(count.to_bytes(4, "little") for count in (0, len(code), 0, is_seeded))
        inbox[: head_bytes + len(code)] = bytes(32) + counts + code

    def turn(source, environ):
        return _husk_serve(source, environ)

    sys.modules["hyperlight"] = types.ModuleType("hyperlight")
    for function in functions:
        setattr(builtins, function.__name__, function)
        setattr(sys.modules["hyperlight"], function.__name__, function)
    for folder in ("/tmp", os.environ["HOME"], "/input", "/output"):
        os.makedirs(folder, exist_ok=True)
    for done, name in enumerate(imports):
        ask(b"p", f"import {name}\0{done / len(imports)}".encode())
        importlib.import_module(name)
    sys.argv[:] = ["-c"]
    sys.orig_argv[:] = ["python", "-c"]
    main = types.ModuleType("__main__")
    before = {**main.__dict__, "__builtins__": builtins}
    sys.modules["__main__"] = main
    said = io.BytesIO()
    sys.stdout = sys.stderr = io.TextIOWrapper(said, "utf-8", "backslashreplace")
    find_generators()
    failures = []
    # Requests that nobody sees: they import what is imported late, and warm the code of serve().
    for text in ["print(1)", "1 / 0", *warm]:
        put(text)
        if serve(b"", None)[0] != (text == "1 / 0"):
            failures.append(said.getvalue().decode())
    main.__dict__.clear()
    main.__dict__.update(before)
    linecache.clearcache()
    linecache._interactive_cache.clear()
    for name in ("last_exc", "last_value", "last_type", "last_traceback"):
        sys.__dict__.pop(name, None)
    if sys.modules.get("tempfile") is not None:
        sys.modules["tempfile"]._name_sequence = None
    sys.stdout = sys.__stdout__ = stream(1, "<stdout>", "strict")
    sys.stderr = sys.__stderr__ = stream(2, "<stderr>", "backslashreplace")
    own_streams[:] = sys.stdout, sys.stderr
    if failures:
        raise RuntimeError(f"a request that warms the guest failed: {failures[0]}")
    find_generators()
    _reactor._husk_serve = serve
    _reactor.turn.__code__ = turn.__code__
    inbox[:] = bytes(len(inbox))
    inbox[:1] = b"i"
    _host.call(inbox)  # tells the host where requests are to be put
    gc.collect()
    gc.freeze()
