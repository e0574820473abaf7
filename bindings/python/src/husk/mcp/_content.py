"""A result as MCP has it: text, images and files for the model, and an object for programs."""

from __future__ import annotations

import base64
import mimetypes
from typing import Any
from urllib.parse import quote

from mcp_types import (
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)

from husk.mcp._runner import Outcome

# By their first bytes: the guest chose the name.
_IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "stdout": _TEXT,
        "stderr": _TEXT,
        "exit_code": {"type": "integer"},
        "stopped": {
            **_TEXT,
            "description": "exit, or what cut the code off: deadline, cpu, memory, trap, …",
        },
        "message": {**_TEXT, "description": "more about that"},
        "is_cut": {**_FLAG, "description": "output was too long, and its rest was dropped"},
        "session": {"type": ["string", "null"]},
        "lost_state": {**_FLAG, "description": "the session is as it was when it began"},
        "files": {
            "type": "array",
            "description": "files in /output; their contents are in the answer's other parts",
            "items": {
                "type": "object",
                "properties": {
                    "path": _TEXT,
                    "size": {"type": "integer"},
                    "mime_type": _TEXT,
                },
                "required": ["path", "size", "mime_type"],
            },
        },
        "refused_files": {
            "type": "object",
            "description": "files that were left out, and why",
            "additionalProperties": _TEXT,
        },
    },
    "required": ["stdout", "stderr", "exit_code", "stopped", "session", "files"],
}


def refusal(text: str) -> CallToolResult:
    """The answer to a request that cannot be run."""
    return CallToolResult(content=[TextContent(text=text)], is_error=True)


def answer(outcome: Outcome) -> CallToolResult:
    """The answer to a request that was run."""
    result = outcome.result
    content: list[ContentBlock] = []
    if result.stdout:
        content.append(TextContent(text=result.stdout))
    if result.stderr:
        content.append(TextContent(text="stderr:\n" + result.stderr))
    content.append(TextContent(text=_state(outcome)))
    rows = []
    for path, data in result.files.items():
        mime_type = _type_of(path, data)
        content.append(_block(path, data, mime_type))
        rows.append({"path": path, "size": len(data), "mime_type": mime_type})
    structured = {
        "stdout": result.stdout,
        "stderr": result.stderr,
        "exit_code": result.exit_code,
        "stopped": result.stopped,
        "message": result.message,
        "is_cut": result.is_cut,
        "session": outcome.session,
        "lost_state": result.lost_state,
        "files": rows,
        "refused_files": dict(result.refused_files),
    }
    return CallToolResult(
        content=content, structured_content=structured, is_error=not result.success
    )


def _state(outcome: Outcome) -> str:
    """How it ended, in a few lines."""
    result = outcome.result
    lines = [f"exit code {result.exit_code}"]
    if result.stopped != "exit":
        lines[0] += f", stopped by {result.stopped}: {result.message}"
    if outcome.session is not None:
        lines.append(f"session {outcome.session}")
        if outcome.was_cancelled:
            lines.append(
                "an earlier run of the session was cancelled: this one began with a new state"
            )
        if result.lost_state:
            lines.append("the session's state is lost: the next run begins with a new one")
    for path in result.files:
        lines.append(f"file /output/{path}")
    for path, reason in result.refused_files.items():
        lines.append(f"left out: /output/{path}: {reason}")
    return "\n".join(lines)


def _type_of(path: str, data: bytes) -> str:
    for begin, mime_type in _IMAGES.items():
        if data.startswith(begin):
            return mime_type
    guessed = mimetypes.guess_type(path)[0]
    if guessed is not None and guessed not in _IMAGES.values():
        return guessed
    return "application/octet-stream" if _as_text(data) is None else "text/plain"


def _as_text(data: bytes) -> str | None:
    try:
        return None if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return None


def _block(path: str, data: bytes, mime_type: str) -> ContentBlock:
    """A file's content: an image, text, or base64."""
    if mime_type in _IMAGES.values():
        return ImageContent(data=base64.b64encode(data).decode(), mime_type=mime_type)
    uri = "file:///output/" + quote(path)
    text = _as_text(data)
    if text is not None:
        contents = TextResourceContents(uri=uri, mime_type=mime_type, text=text)
        return EmbeddedResource(resource=contents)
    blob = base64.b64encode(data).decode()
    return EmbeddedResource(resource=BlobResourceContents(uri=uri, mime_type=mime_type, blob=blob))
