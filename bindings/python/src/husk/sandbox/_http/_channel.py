"""A connection to an address that was judged, with TLS or without.

TLS runs over two buffers in memory, not over the socket: so each step takes a bounded count of
bytes, whatever records a server sends, and every byte is counted before anything reads it.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl

from husk.sandbox._http._errors import HttpFailed, HttpRefused
from husk.sandbox._http._wait import READABLE, WRITABLE, Clock, TooLate

_STEP = 16 << 10  # bytes a step, about a TLS record


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """What verifies servers: the system's authorities, or those of a file.

    Deliberately not ssl.create_default_context(), which writes keys where SSLKEYLOGFILE says.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=ca_file)
    return context


def connect(address: str, port: int, clock: Clock, moment: float) -> socket.socket:
    """A connected socket. address: in numbers. Raises OSError, HttpRefused."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            clock.wait(sock, WRITABLE, moment)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code != 0:
            raise OSError(code, os.strerror(code))
    except TooLate:
        sock.close()
        raise OSError(errno.ETIMEDOUT, "no answer in time") from None
    except BaseException:
        sock.close()
        raise
    return sock


class Channel:
    """Bytes to and from a server. It owns the socket."""

    def __init__(self, sock: socket.socket, clock: Clock, wire_max: int) -> None:
        self._sock = sock
        self._clock = clock
        self._left = wire_max
        self._wire_max = wire_max
        self._tls: ssl.SSLObject | None = None
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()

    def close(self) -> None:
        self._sock.close()

    def start_tls(self, context: ssl.SSLContext, host: str, moment: float) -> None:
        """Shake hands, and verify that the server is the host.

        Raises HttpFailed, HttpRefused, OSError.
        """
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        while True:
            self._clock.check()
            try:
                self._tls.do_handshake()
                self._flush(moment)
                return
            except ssl.SSLWantReadError:
                self._flush(moment)
                self._fill(moment)
            except ssl.SSLCertVerificationError as error:
                message = f"the server's certificate is not good for {host}: {error.verify_message}"
                raise HttpFailed("tls", message) from None
            except ssl.SSLError as error:
                raise HttpFailed("tls", f"no TLS with {host}: {error.reason or error}") from None

    def send(self, data: bytes) -> None:
        """Send all, unless the server answers or closes first, which receive() then shows.

        Raises HttpRefused.
        """
        try:
            if self._tls is None:
                self._send(memoryview(data), self._clock.end)
                return
            for start in range(0, len(data), _STEP):
                self._tls.write(data[start : start + _STEP])
                self._flush(self._clock.end)
        except (OSError, ssl.SSLError):
            pass  # a server that has read enough answers and closes; else receive() fails

    def receive(self) -> bytes:
        """Some bytes; none at the end. Raises HttpFailed, HttpRefused."""
        try:
            if self._tls is None:
                return self._recv(self._clock.end)
            while True:
                self._clock.check()
                try:
                    return self._tls.read(_STEP)
                except ssl.SSLWantReadError:
                    self._flush(self._clock.end)
                    self._fill(self._clock.end)
        except ssl.SSLEOFError:
            raise HttpFailed("receive", "the connection was cut: TLS was not ended") from None
        except ssl.SSLError as error:
            raise HttpFailed("receive", f"TLS failed: {error.reason or error}") from None
        except OSError as error:
            raise HttpFailed("receive", f"the connection broke: {error.strerror}") from None

    def _fill(self, moment: float) -> None:
        """Give TLS what comes."""
        data = self._recv(moment)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def _flush(self, moment: float) -> None:
        """Send what TLS has."""
        data = self._out.read()
        if data:
            self._send(memoryview(data), moment)

    def _recv(self, moment: float) -> bytes:
        while True:
            try:
                # One byte more than is left shows that there is more.
                data = self._sock.recv(min(_STEP, self._left + 1))
            except BlockingIOError:
                self._wait(READABLE, moment)
                continue
            self._left -= len(data)
            if self._left < 0:
                raise HttpRefused("wire size", f"the server sent more than {self._wire_max} bytes")
            return data

    def _send(self, data: memoryview, moment: float) -> None:
        while data:
            try:
                data = data[self._sock.send(data) :]
            except BlockingIOError:
                self._wait(WRITABLE, moment)

    def _wait(self, events: int, moment: float) -> None:
        try:
            self._clock.wait(self._sock, events, moment)
        except TooLate:
            self._clock.check()
            raise OSError(errno.ETIMEDOUT, "no answer in time") from None
