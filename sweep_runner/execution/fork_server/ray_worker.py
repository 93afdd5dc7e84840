"""What Ray starts for each worker, in place of its own script: has the worker forked, and ends when that ends.

A script of its own that imports the standard library alone: it is run for each worker. Ray's own way is taken where
there is no fork to be had, and for what is no plain Python worker.
"""

import contextlib
import json
import os
import socket
import sys
from array import array

ADDRESS = "SWEEP_FORK_SERVER"
"""The environment variable that says where the fork server listens."""


_LANGUAGE, _CONTEXT = "--language=", "--serialized-runtime-env-context="
_PLAIN = {"py_executable": sys.executable}


def main() -> None:
    script, *options = sys.argv[1:]
    # What Ray's own script takes out of the line.
    rest = [option for option in options if not option.startswith((_LANGUAGE, _CONTEXT))]
    if all(map(_is_plain, options)):
        with contextlib.suppress(OSError):  # there is no fork to be had
            sys.exit(_forked(script, rest))
    own = os.path.join(os.path.dirname(script), "setup_worker.py")  # noqa: PTH118, PTH120 - pathlib takes longer
    os.execv(sys.executable, [sys.executable, own, *sys.argv[1:]])


def _is_plain(option: str) -> bool:
    """Whether it asks for nothing but a Python worker in the environment that is there."""
    if option.startswith(_LANGUAGE):
        return option == f"{_LANGUAGE}PYTHON"
    if option.startswith(_CONTEXT):
        context = json.loads(option.removeprefix(_CONTEXT) or "{}")
        return not any(value and value != _PLAIN.get(name) for name, value in context.items())
    return True


def _forked(script: str, argv: list[str]) -> int:
    """Waits for the end of a forked worker; its exit code."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ[ADDRESS])
    request = {"script": script, "argv": argv, "path": [], "env": dict(os.environ), "cwd": os.getcwd()}  # noqa: PTH109
    text = json.dumps(request).encode()
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [0, 1, 2]))]
    connection.sendmsg([len(text).to_bytes(4, "big")], rights)
    connection.sendall(text)
    said = b""
    while some := connection.recv(64):
        said += some
    if b"\n" not in said:
        raise ConnectionError
    return int(said.partition(b"\n")[2] or 1) & 0xFF


if __name__ == "__main__":
    main()
