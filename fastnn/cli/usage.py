"""Wrong usage, which is found before anything runs: one line, exit code 2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fastnn._writing import require_writable


class UsageError(Exception):
    """Arguments that do not fit, or paths that cannot be used; the message is for the user."""


def require_outputs(paths: Mapping[str, Path | None], data: Path | None = None) -> None:
    """Raise ``UsageError`` unless each option's path can be written and is no other's, nor ``data``."""
    used = {} if data is None else {_identity(data): "the data file"}
    for option, path in paths.items():
        if path is None:
            continue
        try:
            require_writable(path)
        except OSError as error:
            raise UsageError(f"{option}: {path} cannot be written: {error.strerror}") from None
        other = used.setdefault(_identity(path), option)
        if other != option:
            raise UsageError(f"{option}: {path} is {other} too")


def _identity(path: Path) -> object:
    """Return what two paths of one file have in common, whether it exists or not."""
    try:
        found = path.stat()
    except OSError:
        return path.resolve()
    return found.st_dev, found.st_ino


def require_picture(option: str, path: Path | None) -> None:
    """Prepare matplotlib to draw without a screen.

    Raises ``ImportError`` if it is not installed, ``UsageError`` if it writes no files of this kind.
    """
    if path is None:
        return
    try:
        import matplotlib
        from matplotlib.backend_bases import FigureCanvasBase
    except ImportError:
        raise ImportError(f"{option} needs matplotlib: pip install 'fastnn-cpu[plot]'") from None
    kinds = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise UsageError(f"{option}: {path} must end in one of .{', .'.join(sorted(kinds))}")
    matplotlib.use("Agg")
