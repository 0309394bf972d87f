"""Name the process that holds something, so that another can tell whether it still runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Return ``HOST PID START``; the start tells apart processes that had the same number."""
    return f"{socket.gethostname()} {os.getpid()} {_start_of(os.getpid())}"


def is_gone(process: str) -> bool:
    """Return whether ``process``, as `this_process` gave it, ran on this machine and has ended.

    The answer is False for a process of another machine, since it cannot be checked from here.
    """
    host, _, rest = process.partition(" ")
    number, _, start = rest.partition(" ")
    if host != socket.gethostname() or not number.isdigit():
        return False
    return _start_of(int(number)) != start


def _start_of(number: int) -> str:
    """Return the process's start in clock ticks since boot; "" where there is no such process."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
