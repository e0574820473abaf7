"""Checks of arguments, and conversions to what C wants."""

from __future__ import annotations

import math
import os


def number(value: object, name: str, maximum: int = 2**64 - 1, minimum: int = 0) -> int:
    """Check that a value is a whole number in a range."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not minimum <= value <= maximum:
        raise ValueError(f"{name} must be {minimum} to {maximum}, not {value}")
    return value


def nanoseconds(seconds: float | None, name: str) -> int:
    """Turn seconds into nanoseconds, at least one; None is 0."""
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {type(seconds).__name__}")
    if not seconds > 0 or math.isinf(seconds):  # also NaN
        raise ValueError(f"{name} must be a number of seconds above 0, not {seconds}")
    nanos = seconds * 1e9
    return max(round(nanos), 1) if nanos < 2**63 else 2**64 - 2


def text(value: object, name: str) -> bytes:
    """Encode a string or path for C, which ends it at a NUL."""
    if not isinstance(value, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be str or bytes, not {type(value).__name__}")
    encoded = os.fsencode(value)
    if b"\0" in encoded:
        raise ValueError(f"{name} must have no NUL")
    return encoded
