# type: ignore
"""What guests of both kinds have in common. The host puts this text before that of
_standard_guest.py or _wasi_python_guest.py, and never imports it.
"""


def _husk_shared(ask):
    """The functions that code may call, and one for folders. ask(): from the bytes of a question to
    those of its answer."""
    import json
    import os

    def call_tool(name, /, **arguments):
        """Call a function that the host offers. Arguments and result are what JSON can say."""
        if not isinstance(name, str):
            raise TypeError(f"the name of a tool is a str, not {type(name).__name__}")
        answer = json.loads(ask(name.encode() + b"\0" + json.dumps(arguments).encode()))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]

    def http_get(url, **options):
        """Get what is at an address, if the host allows it."""
        return call_tool("http_get", url=url, **options)

    def http_post(url, body="", content_type="application/json", **options):
        """Send something to an address, if the host allows it."""
        return call_tool("http_post", url=url, body=body, content_type=content_type, **options)

    def clear(folder):
        """Make a folder empty. It is there afterwards, whatever code did to it."""
        if os.path.islink(folder) or not os.path.isdir(folder):
            if os.path.lexists(folder):
                os.unlink(folder)
            os.mkdir(folder)
        for path, folders, names in os.walk(folder, topdown=False):
            for name in names:
                os.unlink(os.path.join(path, name))
            for name in folders:
                whole = os.path.join(path, name)
                (os.unlink if os.path.islink(whole) else os.rmdir)(whole)

    return (call_tool, http_get, http_post), clear
