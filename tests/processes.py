"""Processes that tests start: none is left behind, and only a hang takes too long."""

import os
import subprocess
import threading
from contextlib import contextmanager

PATIENCE = 1200  # seconds after which a process hangs, on a busy machine and with nothing compiled too


@contextmanager
def started(command, **options):
    """Start a process with its output in a pipe; kill it when the block is left, or after PATIENCE."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, encoding="utf-8", **options
    ) as process:
        watch = threading.Timer(PATIENCE, process.kill)
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()
            process.kill()


def read_until(process, text):
    """Read what a process writes until a text has come, or its end; return what was read."""
    read = b""
    while text.encode() not in read and (more := os.read(process.stdout.fileno(), 65536)):
        read += more
    return read.decode(errors="replace")
