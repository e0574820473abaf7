"""An internet of the test's own: two network namespaces, with servers that play tricks.

One namespace is the host's of the gate: it has an address, a route, and an /etc/resolv.conf. The
other, behind a pair of virtual cables, is all the rest: each address of the world is there, a name
server listens on one of them, and HTTP servers listen on all. So a gate that goes where it must not
gets an answer, and the world sees it. Nothing leaves the namespaces.

Namespaces belong to threads. The test's own thread stays where it is: world.run() runs a function
on the thread whose namespace is the gate's.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

NAME_SERVER = "9.9.9.9"
GATE, GATE_SECOND, GATE_6 = "11.0.0.2", "11.0.0.3", "2600:1::2"
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_FIRST_PORTS = {80: "plain", 8080: "plain", 443: "tls", 8443: "tls of strangers", 8081: "drip"}


@dataclass
class Seen:
    """A request that a server got. place: its address and port."""

    place: tuple[str, int]
    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1")

    def header(self, name: str) -> list[str]:
        rows = [row.split(": ", 1) for row in self.head.decode("latin-1").split("\r\n")[1:] if row]
        return [value for key, value in rows if key.lower() == name.lower()]


Talk = Callable[[socket.socket, Seen], None]
Addresses = list[str]


@dataclass
class World:
    """What tests say and see. pages: answers by path; names: addresses by name.

    An answer is bytes, or a function that talks over the socket. Names have a list of addresses or
    of (kind, value), or a function that makes one for each lookup, or an exception's text.
    """

    folder: Path
    pages: dict[str, bytes | Talk] = field(default_factory=dict)
    names: dict[str, Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    visitors: list[tuple[str, int]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    threads: int = 0  # of the world, while nobody visits
    _gate: concurrent.futures.ThreadPoolExecutor = field(
        default_factory=lambda: concurrent.futures.ThreadPoolExecutor(1)
    )
    _rest: concurrent.futures.ThreadPoolExecutor = field(
        default_factory=lambda: concurrent.futures.ThreadPoolExecutor(1)
    )
    _listeners: list[socket.socket] = field(default_factory=list)

    @property
    def ca_file(self) -> str:
        return str(self.folder / "ca.pem")

    def run(self, function: Callable[..., T], *args: Any) -> T:
        """What the function returns on the gate's thread."""
        return self._gate.submit(function, *args).result(timeout=30)

    def fresh(self) -> None:
        """Forget what an earlier test said."""
        for kept in (self.pages, self.names):
            kept.clear()
        for rows in (self.seen, self.visitors, self.asked):
            rows.clear()
        self.names["a.example"] = ["20.0.0.1"]
        self.names["b.example"] = ["20.0.0.2"]

    def quiet(self, seconds: float) -> None:
        """A server's silence, until the test is over."""
        self.ended.wait(seconds)

    def make(self) -> None:
        self._gate.submit(_own_namespaces, _CLONE_NEWNET | _CLONE_NEWNS).result()
        rest = self._rest.submit(_own_namespaces, _CLONE_NEWNET).result()
        self._gate.submit(self._make_gate, rest).result()
        self._rest.submit(self._make_rest).result()
        self._gate.submit(self._listen, "127.0.0.1", {80: "plain", 443: "tls"}).result()
        self._gate.submit(self._listen, "0.0.0.0", {8888: "plain"}).result()

        self.threads = threading.active_count()

    def _make_gate(self, rest: int) -> None:
        (self.folder / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\noptions timeout:1\n")
        _command("mount", "--make-rprivate", "/")
        _command("mount", "--bind", str(self.folder / "resolv.conf"), "/etc/resolv.conf")
        for row in f"""
            link set lo up
            link add gate type veth peer name rest netns /proc/self/task/{rest}/ns/net
            addr add {GATE}/24 dev gate
            addr add {GATE_SECOND}/24 dev gate
            addr add {GATE_6}/64 dev gate nodad
            link set gate up
            route add default via 11.0.0.1
            -6 route add default via 2600:1::1
        """.strip().splitlines():
            _command("ip", *row.replace("/proc/self", f"/proc/{os.getpid()}").split())

    def _make_rest(self) -> None:
        for row in """
            link set lo up
            addr add 11.0.0.1/24 dev rest
            addr add 2600:1::1/64 dev rest nodad
            link set rest up
            route add local 0.0.0.0/0 dev lo table main
            -6 route add local ::/0 dev lo table main
        """.strip().splitlines():
            _command("ip", *row.split())
        self._listen("0.0.0.0", _FIRST_PORTS)
        self._listen("::", _FIRST_PORTS)
        self._name_server()

    # ---- HTTP ----

    def _listen(self, address: str, ports: dict[int, str]) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port, kind in ports.items():
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, port))
            listener.listen(64)
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, kind), daemon=True).start()

    def _accept(self, listener: socket.socket, kind: str) -> None:
        context = None
        if kind.startswith("tls"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            name = "server" if kind == "tls" else "stranger"
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            serve = self._drip if kind == "drip" else self._serve
            threading.Thread(target=serve, args=(sock, context), daemon=True).start()

    def _serve(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        place = sock.getsockname()[:2]
        self.visitors.append(place)
        sock.settimeout(20)
        with contextlib.suppress(OSError), contextlib.closing(sock):
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            self._talk(sock, place)
            if context is not None:
                sock.unwrap()  # type: ignore[attr-defined]

    def _drip(self, sock: socket.socket, _: ssl.SSLContext | None) -> None:
        """The first record of a handshake, a byte at a time."""
        with contextlib.suppress(OSError), sock:
            for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03" + bytes(500):
                sock.sendall(bytes([byte]))
                time.sleep(0.02)

    def _talk(self, sock: socket.socket, place: tuple[str, int]) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            part = sock.recv(1 << 16)
            if not part:
                return
            data += part
        head, body = data.split(b"\r\n\r\n", 1)
        seen = Seen(place, head, body)
        size = int((seen.header("content-length") or ["0"])[0])
        path = seen.line.split(" ")[1].split("?")[0]
        page = self.pages.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        while len(seen.body) < size and not getattr(page, "is_impatient", False):
            seen.body += sock.recv(1 << 16)
        self.seen.append(seen)
        if callable(page):
            page(sock, seen)
        else:
            sock.sendall(page)

    # ---- names ----

    def _name_server(self) -> None:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((NAME_SERVER, 53))
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((NAME_SERVER, 53))
        tcp.listen(8)
        self._listeners += [udp, tcp]
        threading.Thread(target=self._names_by_udp, args=(udp,), daemon=True).start()
        threading.Thread(target=self._names_by_tcp, args=(tcp,), daemon=True).start()

    def _names_by_udp(self, udp: socket.socket) -> None:
        while True:
            wire, client = udp.recvfrom(1 << 16)
            if not wire:
                return  # the end of the world
            for answer in self._lookup(wire, is_tcp=False):
                udp.sendto(answer, client)

    def _names_by_tcp(self, tcp: socket.socket) -> None:
        while True:
            try:
                sock, _ = tcp.accept()
            except OSError:
                return
            with sock:
                sock.settimeout(5)
                size = int.from_bytes(sock.recv(2), "big")
                for answer in self._lookup(sock.recv(size), is_tcp=True):
                    sock.sendall(len(answer).to_bytes(2, "big") + answer)

    def _lookup(self, wire: bytes, is_tcp: bool) -> list[bytes]:
        import dns.flags
        import dns.message
        import dns.rcode
        import dns.rrset

        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = str(question.name).rstrip("."), question.rdtype.name
        self.asked.append((name, kind))
        rows = self.names.get(name, "NXDOMAIN")
        if callable(rows):
            rows = rows(kind, query, is_tcp)
        if rows is None or (rows and isinstance(rows[0], bytes)):
            return rows or []
        answer = dns.message.make_response(query)
        if isinstance(rows, str):
            answer.set_rcode(dns.rcode.from_text(rows))
            return [answer.to_wire()]
        owner = f"{name}."
        for row in rows:
            what, value = row if isinstance(row, tuple) else ("AAAA" if ":" in row else "A", row)
            if what in (kind, "CNAME"):
                answer.answer.append(dns.rrset.from_text(owner, 60, "IN", what, value))
            owner = value if what == "CNAME" else owner
        return [answer.to_wire(max_size=65535)]

    def end(self) -> None:
        self.ended.set()
        for listener in self._listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._gate.shutdown()
        self._rest.shutdown()


def _own_namespaces(flags: int) -> int:
    """Give the calling thread namespaces of its own. Returns its number."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    return threading.get_native_id()


def _command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


def _certificates(folder: Path) -> None:
    """An authority, a certificate of it, and one of a stranger's authority."""
    names = "DNS:a.example,DNS:b.example,DNS:*.wild.example,IP:20.0.0.9"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made = [
        ("ca", "/CN=authority", ["basicConstraints=critical,CA:TRUE", "keyUsage=keyCertSign"], ""),
        ("server", "/CN=common.example", [f"subjectAltName={names}"], "ca"),
        ("stranger", "/CN=a.example", [f"subjectAltName={names}"], ""),
    ]
    for name, subject, extensions, issuer in made:
        command = ["openssl", "req", "-x509", *key, "-subj", subject]
        command += ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        for extension in extensions:
            command += ["-addext", extension]
        if issuer:
            command += [
                "-CA",
                str(folder / f"{issuer}.pem"),
                "-CAkey",
                str(folder / f"{issuer}.key"),
            ]
        _command(*command)


def why_none() -> str | None:
    """Why there can be no world here."""
    if os.geteuid() != 0:
        return "namespaces need root"
    for tool in ("ip", "openssl", "mount"):
        if shutil.which(tool) is None:
            return f"there is no {tool}: tools/install-deps python"
    probe = subprocess.run(["unshare", "-n", "-m", "true"], capture_output=True, text=True)
    return None if probe.returncode == 0 else f"namespaces cannot be made: {probe.stderr.strip()}"


@pytest.fixture(scope="session")
def whole_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The one world of all tests."""
    for library in ("h11", "dns"):
        pytest.importorskip(library)
    reason = why_none()
    if reason is not None:
        pytest.skip(reason)
    made = World(tmp_path_factory.mktemp("world"))
    _certificates(made.folder)
    try:
        made.make()
        yield made
    finally:
        made.end()


@pytest.fixture
def world(whole_world: World) -> World:
    """The world, without what earlier tests said."""
    whole_world.fresh()
    return whole_world
