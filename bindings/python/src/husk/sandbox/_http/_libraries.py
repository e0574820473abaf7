"""The libraries that only guests' requests need, imported when the first gate is made."""

from __future__ import annotations

import importlib


def need() -> None:
    """Raises ImportError with what to do."""
    for name, package in (("h11", "h11"), ("dns.message", "dnspython")):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ImportError(
                f"guests' requests need the package {package}, which cannot be imported ({error}); "
                "h11 and dnspython are the extra 'http' of Husk: pip install h11 dnspython"
            ) from error
