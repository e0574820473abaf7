"""What a guest's requests may cost the host."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of the requests of a guest. Sizes are in bytes, times in seconds.

    They bound memory and time, and the default values are what other hosts of guests use. A
    redirect that is followed counts as a request.
    """

    requests_max: int = 100
    """Requests in one run of the guest."""
    seconds: float = 30.0
    """From the start of a request to its end, with its names, connections and redirects."""
    connect_seconds: float = 6.0
    """One attempt to connect to one address, with TLS."""
    name_seconds: float = 5.0
    """One name's addresses."""
    addresses_max: int = 4
    """Addresses of one name that are tried."""
    redirects_max: int = 10
    """Redirects that one request follows."""
    url_max: int = 8 << 10
    """A URL."""
    request_headers_max: int = 64
    """Headers that the guest sets."""
    request_head_max: int = 32 << 10
    """Their names and values together."""
    request_body_max: int = 8 << 20
    """What the guest sends."""
    headers_max: int = 128
    """Headers of an answer."""
    head_max: int = 64 << 10
    """An answer's head, and each line of its chunks."""
    interim_max: int = 16
    """Answers of the kind 1xx before the answer."""
    wire_max: int = 20 << 20
    """All that one connection brings: TLS records, heads, chunks, compressed contents."""
    body_max: int = 16 << 20
    """An answer's contents after decompression."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if field.type == "float" else (int,)
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise TypeError(f"{field.name} must be a number, not {type(value).__name__}")
            if not 0 <= value <= 1 << 40:
                raise ValueError(f"{field.name} must be from 0 to 2**40, not {value}")
