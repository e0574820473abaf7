"""HTTP for guests, made by the host: off until an origin is allowed."""

from husk.sandbox._http._errors import HttpError, HttpFailed, HttpRefused
from husk.sandbox._http._gate import HttpAnswer, HttpGate
from husk.sandbox._http._limits import HttpLimits

__all__ = ["HttpAnswer", "HttpError", "HttpFailed", "HttpGate", "HttpLimits", "HttpRefused"]
