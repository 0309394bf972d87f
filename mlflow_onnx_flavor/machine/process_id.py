"""Which process holds something, so that another can tell whether it still does."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """``HOST PID START``: the start tells this process from a later one with the same number."""
    return f"{socket.gethostname()} {os.getpid()} {_start_of(os.getpid())}"


def is_gone(process: str) -> bool:
    """Whether ``process``, as `this_process` gave it, was on this machine and has ended.

    Of a process of another machine nobody here can tell, and the answer is no.
    """
    host, _, rest = process.partition(" ")
    number, _, start = rest.partition(" ")
    if host != socket.gethostname() or not number.isdigit():
        return False
    return _start_of(int(number)) != start


def _start_of(number: int) -> str:
    """Clock ticks from the machine's start to the process's; "" where there is none."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
