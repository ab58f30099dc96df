"""Ctrl-C between training steps, never inside one."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], None]]:
    """Hold ``KeyboardInterrupt`` back until the function this yields is called.

    Where Python delivers signals to someone else (another thread, or a program with its own SIGINT
    handler) nothing is changed.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: None
        return
    pending = False

    def remember(signum: int, frame: FrameType | None) -> None:
        nonlocal pending
        pending = True

    def check() -> None:
        nonlocal pending
        if pending:
            pending = False
            raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, remember)
        yield check
    finally:
        _restore()
    check()


def _restore() -> None:
    """Make Ctrl-C raise ``KeyboardInterrupt`` again.

    Python calls the handlers of signals that have arrived before ``signal.signal`` sets anything. One
    that raises must not leave this undone.
    """
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    except BaseException:
        _restore()
        raise
