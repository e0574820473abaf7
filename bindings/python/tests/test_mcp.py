"""husk.mcp: the package mcp's own client starts the server, and talks to it by its standard input
and output; and what is written there is looked at without that client."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sandbox_guest import options

pytest.importorskip("mcp", reason="the package mcp is not installed")

import anyio.from_thread
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

from husk.mcp import main
from husk.mcp._arguments import CODE_MAX, FILES_MAX, Arguments, Bounds, arguments_of
from husk.mcp._runner import Refused, Runner
from husk.mcp._sessions import Sessions
from husk.sandbox import Sandbox

Call = Callable[..., Any]
_PNG = (
    "import struct, zlib\n"
    "def part(kind, data):\n"
    "    crc = struct.pack('>I', zlib.crc32(kind + data))\n"
    "    return struct.pack('>I', len(data)) + kind + data + crc\n"
    "png = bytes([137]) + b'PNG\\r\\n' + bytes([26, 10])\n"
    "png += part(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0))\n"
    "png += part(b'IDAT', zlib.compress(bytes(2))) + part(b'IEND', b'')\n"
)


def command(*more: str) -> list[str]:
    """The command line of a server for the tests' guest."""
    given = options()
    line = [sys.executable, "-m", "husk.mcp", "--module-path", str(given["module_path"])]
    return [*line, "--cache-folder", str(given["cache_folder"]), "--level", "0", *more]


class Served:
    """A server, and a client that talks to it."""

    def __init__(self, portal: anyio.from_thread.BlockingPortal, client: Client, pid: int) -> None:
        self.portal, self.client, self.pid = portal, client, pid

    def run(self, code: str, **more: Any) -> Any:
        """Call the tool."""
        return self.portal.call(self.client.call_tool, "run_python", {"code": code, **more})

    def refused(self, **arguments: Any) -> str:
        """Call the tool, which must refuse it. Returns why."""
        result = self.portal.call(self.client.call_tool, "run_python", arguments)
        assert result.is_error and result.structured_content is None
        return str(result.content[0].text)

    def cpu(self) -> float:
        """Seconds that the server has computed."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children() -> set[int]:
    """The processes that this one began."""
    lists = [task / "children" for task in Path("/proc/self/task").iterdir()]
    return {int(pid) for each in lists for pid in each.read_text().split()}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    line = command("--at-once", "1", "--sessions", "2", "--deadline", "20", "--files-max", "64Ki")
    before = children()
    with anyio.from_thread.start_blocking_portal() as portal:
        server = StdioServerParameters(command=line[0], args=line[1:])
        client = Client(stdio_client(server))
        with portal.wrap_async_context_manager(client):
            (pid,) = children() - before
            yield Served(portal, client, pid)
    assert children() <= before


def text_of(result: Any) -> str:
    """All text of an answer."""
    return "\n".join(block.text for block in result.content if block.type == "text")


# ---- What it answers ----


def test_the_tool(served: Served) -> None:
    (tool,) = served.portal.call(served.client.list_tools).tools
    assert tool.name == "run_python"
    assert tool.input_schema["required"] == ["code"]
    assert set(tool.input_schema["properties"]) == {"code", "files", "deadline", "session"}
    assert tool.input_schema["properties"]["deadline"]["maximum"] == 20
    assert "the standard library; no network" in (tool.description or "")
    with pytest.raises(MCPError, match="there is no tool 'other'"):
        served.portal.call(served.client.call_tool, "other", {})


def test_run(served: Served) -> None:
    result = served.run("import sys; print(6 * 7); print('oh', file=sys.stderr)")
    assert not result.is_error
    assert [block.text for block in result.content] == ["42\n", "stderr:\noh\n", "exit code 0"]
    assert result.structured_content["stdout"] == "42\n"
    assert result.structured_content["stderr"] == "oh\n"
    assert result.structured_content["session"] is None


def test_errors(served: Served) -> None:
    result = served.run("1 / 0")
    assert result.is_error
    assert "ZeroDivisionError: division by zero" in result.structured_content["stderr"]
    assert result.structured_content["exit_code"] == 1
    assert served.run("import sys; sys.exit(3)").structured_content["exit_code"] == 3
    begin = time.monotonic()
    cut = served.run("while True: pass", deadline=0.2)
    assert time.monotonic() - begin < 10  # the server's deadline is 20 s
    assert cut.is_error and cut.structured_content["stopped"] == "deadline"
    assert "stopped by deadline" in text_of(cut)
    big = served.run("kept = []\nwhile True: kept.append(bytes(1 << 22))")
    assert big.structured_content["stopped"] == "memory"
    long = served.run("print('x' * 100_000)").structured_content
    assert long["is_cut"] and len(long["stdout"]) < 70_000
    assert "stdout was cut off: 34465 bytes more" in long["stdout"]


def test_state(served: Served) -> None:
    served.run("x = 1")
    assert "NameError" in text_of(served.run("print(x)"))
    first = served.run("x = 2; open('/tmp/kept', 'w').write('file')", session="new")
    name = first.structured_content["session"]
    assert f"session {name}" in text_of(first)
    again = served.run("print(x, open('/tmp/kept').read())", session=name)
    assert again.structured_content["stdout"] == "2 file\n"
    assert "NameError" in text_of(served.run("print(x)"))
    # A run that is cut off loses the state, and that is said.
    lost = served.run("while True: pass", session=name, deadline=0.2)
    assert lost.structured_content["lost_state"] and "state is lost" in text_of(lost)
    assert "NameError" in text_of(served.run("print(x)", session=name))


def test_sessions_are_bounded(served: Served) -> None:
    names = [served.run("", session="new").structured_content["session"] for _ in range(2)]
    served.run("y = 1", session=names[0])
    names.append(served.run("", session="new").structured_content["session"])
    assert len(set(names)) == 3
    # The one that was not used for the longest time has ended.
    assert "there is no session" in served.refused(code="", session=names[1])
    assert served.run("print(y)", session=names[0]).structured_content["stdout"] == "1\n"


def test_files(served: Served) -> None:
    code = "import os\nos.mkdir('/output/a')\nfor name in ('a/b.txt', 'raw'):\n"
    code += "    data = open('/input/' + name, 'rb').read()\n"
    code += "    open('/output/' + name, 'wb').write(data)\n"
    code += "print(sorted(os.listdir('/input')))"
    raw = bytes(range(256))
    given = [
        {"path": "a/b.txt", "text": "grüße"},
        {"path": "/input/raw", "base64": base64.b64encode(raw).decode()},
    ]
    result = served.run(code, files=given)
    assert result.structured_content["stdout"] == "['a', 'raw']\n"
    rows = {row["path"]: row for row in result.structured_content["files"]}
    assert rows["a/b.txt"] == {"path": "a/b.txt", "size": 7, "mime_type": "text/plain"}
    assert rows["raw"]["mime_type"] == "application/octet-stream"
    found = {b.resource.uri: b.resource for b in result.content if b.type == "resource"}
    assert found["file:///output/a/b.txt"].text == "grüße"
    assert base64.b64decode(found["file:///output/raw"].blob) == raw
    gone = served.run("import os; print(os.listdir('/input'))", files=[])
    assert gone.structured_content["stdout"] == "[]\n"
    # What is too large is left out, and that is said.
    big = served.run("open('/output/big', 'wb').write(bytes(1 << 17))")
    assert big.structured_content["files"] == []
    assert "65536" in big.structured_content["refused_files"]["big"]
    assert "left out: /output/big" in text_of(big)


def test_images(served: Served) -> None:
    code = _PNG + "open('/output/named.txt', 'wb').write(png)\n"
    code += "open('/output/a.jpeg', 'wb').write(bytes([255, 216, 255, 224]) + bytes(8))\n"
    code += "open('/output/fake.png', 'w').write('<script>')\n"
    result = served.run(code)
    images = {block.mime_type: block.data for block in result.content if block.type == "image"}
    assert set(images) == {"image/png", "image/jpeg"}
    assert base64.b64decode(images["image/png"]).startswith(b"\x89PNG\r\n\x1a\n")
    (other,) = (block.resource for block in result.content if block.type == "resource")
    assert (other.mime_type, other.text) == ("text/plain", "<script>")


# ---- Cancelling ----


@pytest.mark.parametrize("session", [False, True])
def test_cancelled(served: Served, session: bool) -> None:
    more = {}
    if session:
        begun = served.run("z = 1", session="new")
        more["session"] = begun.structured_content["session"]
    before = served.cpu()
    arguments = {"code": "while True: pass", **more}
    future = served.portal.start_task_soon(served.client.call_tool, "run_python", arguments)
    end = time.monotonic() + 10
    while served.cpu() < before + 0.2:
        assert time.monotonic() < end and not future.done()
        time.sleep(0.02)
    waiting = served.portal.start_task_soon(served.client.call_tool, "run_python", {"code": "1"})
    future.cancel()
    # The only place is free again, long before the deadline, and nothing computes.
    assert not waiting.result(5).is_error
    begin = served.cpu()
    time.sleep(0.3)
    assert served.cpu() - begin < 0.15
    if session:
        after = served.run("print('z' in globals())", **more)
        assert after.structured_content["stdout"] == "False\n"
        assert "an earlier run of the session was cancelled" in text_of(after)
        assert "cancelled" not in text_of(served.run("", **more))


# ---- Hostile arguments ----


def test_refused_over_the_wire(served: Served) -> None:
    assert "'code' must be a string, not a number" in served.refused(code=1)
    assert f"at most {CODE_MAX} are taken" in served.refused(code="#" * (CODE_MAX + 1))
    assert "there is no session 'nobody'" in served.refused(code="", session="nobody")
    assert "leads elsewhere" in served.refused(code="", files=[{"path": "../a", "text": ""}])
    assert "source code string cannot contain null bytes" in text_of(served.run("x = '\0'"))
    assert served.run("print(1)").structured_content["stdout"] == "1\n"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "'code' is missing"),
        (None, "'code' is missing"),
        ({"code": None}, "'code' must be a string, not null"),
        ({"code": ["a"]}, "'code' must be a string, not an array"),
        ({"code": "\ud800"}, "half of a surrogate pair"),
        ({"code": "", "cod" * 99: 1}, "there is no argument 'codcod"),
        ({"code": "", "session": {}}, "'session' must be a string, not an object"),
        ({"code": "", "deadline": "1"}, "'deadline' must be a number of seconds, not a string"),
        ({"code": "", "deadline": True}, "'deadline' must be a number of seconds, not a boolean"),
        ({"code": "", "deadline": 0}, "more than 0 and at most 5 seconds"),
        ({"code": "", "deadline": 5.1}, "more than 0 and at most 5 seconds"),
        ({"code": "", "deadline": float("nan")}, "more than 0 and at most 5 seconds"),
        ({"code": "", "deadline": 10**400}, "more than 0 and at most 5 seconds"),
        ({"code": "", "files": {}}, "'files' must be an array of objects, not an object"),
        ({"code": "", "files": ["a"]}, "files[0] must be an object"),
        ({"code": "", "files": [{"text": ""}]}, "'files[0].path' must be a string, not null"),
        ({"code": "", "files": [{"path": "a"}]}, "either text or base64"),
        ({"code": "", "files": [{"path": "a", "text": "", "base64": ""}]}, "either text or"),
        ({"code": "", "files": [{"path": "a", "text": 1}]}, "'files[0].text' must be a string"),
        ({"code": "", "files": [{"path": "a", "base64": "a"}]}, "is no base64"),
        ({"code": "", "files": [{"path": "a", "base64": "é"}]}, "is no base64"),
        ({"code": "", "files": [{"path": "a", "mode": 7}]}, "there is no 'mode'"),
        ({"code": "", "files": [{"path": "a", "text": "x" * 101}]}, "more than 100 bytes"),
        ({"code": "", "files": [{"path": "a", "text": ""}] * 2}, "'a' is there twice"),
        ({"code": "", "files": [{"path": "a\0", "text": ""}]}, "NUL"),
        ({"code": "", "files": [{}] * (FILES_MAX + 1)}, f"at most {FILES_MAX}"),
    ],
)
def test_refused(given: Any, text: str) -> None:
    with pytest.raises(ValueError) as caught:
        arguments_of(given, Bounds(5, 100, 2))
    assert text in str(caught.value)
    str(caught.value).encode()  # it can be sent


def test_sessions_end() -> None:
    sessions = Sessions(lambda: Sandbox(module_path="/nowhere"), 2, 0.05)
    with sessions.use("new") as one, sessions.use("new") as other:
        with pytest.raises(ValueError, match="all 2 sessions are in use"), sessions.use("new"):
            pass
        time.sleep(0.06)
        sessions.expire()
        assert len(sessions) == 2  # both are in use
    time.sleep(0.06)
    sessions.expire()
    assert len(sessions) == 0
    for each in (one, other):
        with pytest.raises(ValueError, match="there is no session"), sessions.use(each.id):
            pass
    # One whose first run fails reaches nobody.
    with suppress(KeyError), sessions.use("new"):
        raise KeyError
    assert len(sessions) == 0
    none = Sessions(Sandbox, 0, 1)
    with pytest.raises(ValueError, match="this server has no sessions"), none.use("new"):
        pass


# ---- The process ----


def ends_late(server: subprocess.Popen[Any]) -> threading.Timer:
    """End a server that says nothing: then what reads from it fails, instead of waiting."""
    timer = threading.Timer(60, server.kill)
    timer.daemon = True
    timer.start()
    return timer


def test_standard_output_is_the_protocols_and_its_end_the_servers() -> None:
    line = command()
    server = subprocess.Popen(
        line,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    late = ends_late(server)
    assert server.stdin is not None and server.stdout is not None
    number = 0

    def send(method: str, params: dict[str, Any], is_request: bool = True) -> None:
        nonlocal number
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        if is_request:
            number += 1
            message["id"] = number
        server.stdin.write(json.dumps(message).encode() + b"\n")  # type: ignore[union-attr]
        server.stdin.flush()  # type: ignore[union-attr]

    try:
        info = {"name": "test", "version": "1"}
        first = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": info}
        send("initialize", first)
        assert json.loads(server.stdout.readline())["result"]["serverInfo"]["name"] == "husk"
        send("notifications/initialized", {}, False)
        forged = '{"jsonrpc": "2.0", "id": 2, "result": {"forged": true}}'
        code = (
            f"import os, sys\nfor fd in (1, 2): os.write(fd, b'\\n' + {forged.encode()!r} + b'\\n')"
        )
        code += f"\nprint({forged!r}, flush=True); sys.__stderr__.write({forged!r})"
        send("tools/call", {"name": "run_python", "arguments": {"code": code}})
        answer = json.loads(server.stdout.readline())
        assert answer["id"] == 2 and "forged" not in answer["result"]
        assert answer["result"]["structuredContent"]["stdout"].count("forged") == 2
        server.stdin.write(b"{no json\n\xff\xfe\n[]\n")
        send("tools/call", {"name": "run_python", "arguments": [1]})
        while (bad := json.loads(server.stdout.readline())).get("id") != 3:
            pass
        assert "error" in bad
        # The input ends while a guest runs.
        arguments = {"code": "while True: pass"}
        send("tools/call", {"name": "run_python", "arguments": arguments})
        time.sleep(0.3)
        server.stdin.close()
        begin = time.monotonic()
        assert server.wait(10) == 0
        assert time.monotonic() - begin < 5
        for rest in server.stdout.read().splitlines():
            assert json.loads(rest)["jsonrpc"] == "2.0"
        with pytest.raises(ProcessLookupError):
            os.killpg(server.pid, 0)
    finally:
        late.cancel()
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        server.stdout.close()


def test_http() -> None:
    line = command("--http", "0")
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    late = ends_late(server)
    assert server.stderr is not None and server.stdout is not None
    try:
        url = ""
        while not url.startswith("http://127.0.0.1:"):
            said = server.stderr.readline()
            assert said, "it ended"
            url = said.removeprefix("husk.mcp: ").strip()

        async def talk() -> Any:
            async with Client(url) as client:
                first = await client.call_tool("run_python", {"code": "x = 5", "session": "new"})
                name = first.structured_content["session"]
                return await client.call_tool("run_python", {"code": "print(x)", "session": name})

        assert anyio.run(talk).structured_content["stdout"] == "5\n"
        # A page of the web, by a name that leads to the loopback.
        for header in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
            post = urllib.request.Request(
                url, b"{}", {"Content-Type": "application/json", **header}
            )
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(post)
            assert caught.value.code in (403, 421)
            caught.value.close()
    finally:
        late.cancel()
        server.terminate()
        server.wait(10)
        assert server.stdout.read() == ""
        server.stdout.close()
        server.stderr.close()


def test_it_ends_while_it_compiles(tmp_path: Path) -> None:
    line = command("--cache-folder", str(tmp_path))
    server = subprocess.Popen(
        line,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    late = ends_late(server)
    assert server.stderr is not None
    try:
        assert server.stderr.readline() == b"husk.mcp: compile\n"
        time.sleep(0.2)
        begin = time.monotonic()
        assert server.communicate()[0] == b""
        assert server.returncode == 0
        assert time.monotonic() - begin < 5
    finally:
        late.cancel()
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)


def test_the_guest_is_missing() -> None:
    async def main() -> None:
        sandbox_options = {"module_path": "/nowhere"}
        runner = Runner(
            sandbox_options=sandbox_options,
            setup=lambda _sandbox: None,
            at_once=1,
            sessions=1,
            session_idle=1,
        )
        for session in (None, "new", None):
            with pytest.raises(Refused, match="there is no module '/nowhere'"):
                await runner.run(Arguments("1", 5, session), told)
        assert len(runner.sessions) == 0
        runner.close()

    async def told(seconds: float, what: str) -> None:
        raise AssertionError((seconds, what))

    anyio.run(main)


def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    monkeypatch.delitem(sys.modules, "husk.mcp._server", raising=False)
    monkeypatch.delattr("husk.mcp._server", raising=False)
    assert main([]) == 1
    said = capsys.readouterr()
    assert "pip install 'mcp>=2.3,<3'" in said.err and said.out == ""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("--memory much", 'memory must be a size such as "64Mi"'),
        ("--files-max x", "--files-max must be a size"),
        ("--module other", "there is no module 'other'"),
        ("--deadline 0", "'0' is not a number from 0.001"),
        ("--deadline nan", "'nan' is not a number"),
        ("--sessions 1.5", "'1.5' is not a whole number"),
        ("--at-once 0", "'0' is not a whole number from 1"),
        ("--http 70000", "to 65535"),
        ("--allow-domain ftp://a.example", "ftp"),
        ("--allow-domain https://a.example=EAT", "EAT"),
        ("--unknown", "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_options(line: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(line.split())
    assert caught.value.code == 2
    assert text in capsys.readouterr().err
