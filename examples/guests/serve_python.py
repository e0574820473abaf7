"""A program for CPython as a WASI command, which `husk serve --until stdin` serves:

    husk serve python.wasm --until stdin -- -I -c "$(cat serve_python.py)" json,decimal,re

It imports the modules that it is given, and stands where it reads its first request: there the
snapshot is taken. A POST has Python as its body; the answer has what that prints. With the header
`Accept: application/json` it is an object: stdout, stderr and exit_code; otherwise it is the text,
with status 200, or 422 if the exit code is not 0 (X-Exit-Code has it).
"""

import contextlib
import gc
import importlib
import io
import json
import os
import sys
import traceback

OUTPUT_MAX = 1 << 20


class Output(io.StringIO):
    """Keeps the beginning of what is written."""

    lost = 0

    def write(self, text):
        room = max(OUTPUT_MAX - self.tell(), 0)
        self.lost += max(len(text) - room, 0)
        super().write(text[:room])
        return len(text)

    def text(self):
        return self.getvalue() + (f"\n[{self.lost} more characters]\n" if self.lost else "")


def exit_code(error):
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def run(code, names):
    """Returns stdout, stderr and the exit code."""
    output, errors, result = Output(), Output(), 0
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            exec(compile(code, "<request>", "exec"), names)
        except SystemExit as error:
            result = exit_code(error)
        except BaseException as error:
            names.clear()  # if memory ran out, that was in it
            traceback.print_exception(type(error), error, error.__traceback__.tb_next)
            result = 1
    return output.text(), errors.text(), result


def answer(status, kind, body, *heads):
    body = body.encode("utf-8", "backslashreplace")
    lines = [
        f"Status: {status}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(body)}",
    ]
    sys.stdout.buffer.write("\n".join([*lines, *heads, "\n"]).encode() + body)
    sys.stdout.buffer.flush()


def serve(request):
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if first.split(" ")[0] != "POST":
        return answer(
            "405 Method Not Allowed", "text/plain", "Send Python with POST.\n", "Allow: POST"
        )
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    stdout, stderr, result = run(body, {"__name__": "__main__", "__builtins__": __builtins__})
    if "application/json" in headers.get("accept", ""):
        said = json.dumps({"stdout": stdout, "stderr": stderr, "exit_code": result})
        return answer("200 OK", "application/json", said + "\n")
    status = "422 Unprocessable Content" if result else "200 OK"
    return answer(status, "text/plain", stdout + stderr, f"X-Exit-Code: {result}")


for name in filter(None, sys.argv[1].split(",")):
    importlib.import_module(name)
run(b"1 / 0", {})  # the first traceback loads what the others need
gc.collect()  # else a request would soon make one, which writes to all pages
gc.freeze()
request = sys.stdin.buffer.read()
if "random" in sys.modules:
    sys.modules["random"].seed()  # two requests never draw the same numbers
serve(request)
os._exit(0)  # the interpreter's own end would write to most pages, too
