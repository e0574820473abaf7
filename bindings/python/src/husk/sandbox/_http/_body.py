"""An answer's contents, decompressed as they come, within a bound."""

from __future__ import annotations

import zlib

from husk.sandbox._http._errors import HttpFailed, HttpRefused

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS

# What requests ask for: what zlib can.
ACCEPTED = "gzip, deflate"


class Body:
    """Collects contents. coding: the answer's Content-Encoding, "" for none. Raises HttpFailed."""

    def __init__(self, coding: str, size_max: int) -> None:
        coding = coding.strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            message = f"the answer has the coding {coding!a:.60}; {ACCEPTED} was asked for"
            raise HttpFailed("coding", message)
        self._coding = "" if coding == "identity" else coding.removeprefix("x-")
        self._size_max = size_max
        self._data = bytearray()
        self._inflate: zlib._Decompress | None = None
        self._has_input = False

    def add(self, data: bytes) -> None:
        """Take a part of what came. Raises HttpRefused, HttpFailed."""
        if self._coding == "":
            self._keep(data)
            return
        try:
            self._decompress(data)
        except zlib.error as error:
            raise HttpFailed("coding", f"the answer is no good {self._coding}: {error}") from None

    def finish(self) -> bytes:
        """All contents. Raises HttpFailed: they end in the middle."""
        if self._has_input and (self._inflate is None or not self._inflate.eof):
            raise HttpFailed("coding", f"the answer's {self._coding} ends in the middle")
        return bytes(self._data)

    def _keep(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > self._size_max:
            raise HttpRefused("body size", f"the answer is larger than {self._size_max} bytes")

    def _decompress(self, data: bytes) -> None:
        while data:
            if self._inflate is None or self._inflate.eof:
                # The first member, or a further one: gzip files may be one after the other.
                if self._inflate is not None and self._coding != "gzip":
                    raise HttpFailed("coding", "there is something behind the answer's deflate")
                self._inflate = zlib.decompressobj(self._window(data))
                self._has_input = True
            # One byte more than is left shows that there is more.
            room = self._size_max - len(self._data) + 1
            self._keep(self._inflate.decompress(data, room))
            data = self._inflate.unconsumed_tail or self._inflate.unused_data

    def _window(self, data: bytes) -> int:
        """ "deflate" is zlib's format by RFC 9110, and the bare one by many servers."""
        if self._coding == "gzip":
            return _GZIP
        return _ZLIB if data[0] & 0x0F == 8 and data[0] >> 4 <= 7 else _RAW
