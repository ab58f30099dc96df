"""A CSV file as text, and its records with the lines that they begin in."""

from __future__ import annotations

import csv
import importlib
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

Record = list[str]
_MODULES = {".gz": "gzip", ".bz2": "bz2", ".xz": "lzma"}
DAMAGED: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error)  # of what decompresses
try:
    from lzma import LZMAError
except ImportError:  # Python can be built without it, and without bz2
    pass
else:
    DAMAGED += (LZMAError,)


class Source:
    """A file, which may be compressed, or a stream's text; it can be read several times."""

    def __init__(self, source: Any, encoding: str) -> None:
        self.encoding = encoding
        self.text: str | None = None
        if hasattr(source, "read"):
            self.name = str(getattr(source, "name", "the text"))
            self.text = source.read()
            if not isinstance(self.text, str):
                raise TypeError(f"{self.name} must be a text stream, not one of bytes")
            return
        try:
            self.path = Path(source)
        except TypeError:
            raise TypeError(f"path must be a path or a text stream, got {source!r}") from None
        self.name = str(source)
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.name} is a folder, not a file")
        if not self.path.exists():
            raise FileNotFoundError(f"no file {self.name}")

    def open(self) -> IO[str]:
        """Return the text, at its start, or after a byte order mark."""
        handle: IO[str]
        if self.text is not None:
            handle = io.StringIO(self.text, newline="")
        else:
            handle = self._opener()(self.path, "rt", encoding=self.encoding, newline="")
        try:
            if handle.read(1) != "\ufeff":
                handle.seek(0)
        except BaseException:
            handle.close()
            raise
        return handle

    def undecodable(self, error: UnicodeDecodeError) -> ValueError:
        """Return the error that names the first line that is not text of this encoding."""
        with self._opener()(self.path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    line.decode(self.encoding)
                except UnicodeDecodeError as found:
                    where = f"line {number}: byte 0x{line[found.start]:02x}"
                    break
            else:
                where = error.reason
        other = "utf-16" if where.startswith("line 1: byte 0xf") else "latin-1"
        return ValueError(
            f"{self.name} is not text in {self.encoding} ({where}); save it as UTF-8, or name its "
            f"encoding, such as encoding={other!r}"
        )

    def _opener(self) -> Any:
        name = _MODULES.get(self.path.suffix.lower(), "builtins")
        return importlib.import_module(name).open


def read_records(
    lines: Iterable[str], sep: str, name: str, before: int = 0, whole: bool = True
) -> Iterator[tuple[int, Record]]:
    """Yield the records that are not blank, each with the line of the file that it begins in.

    ``before`` is how many lines come before; without ``whole`` the last record may be cut in two.

    Raises
    ------
    ValueError
        For a quote that is not closed, and for a cell of more than 131,072 characters.
    """
    ended = False

    def until_end() -> Iterator[str]:
        nonlocal ended
        yield from lines
        ended = True

    reader = csv.reader(until_end(), delimiter=sep, skipinitialspace=sep != " ")
    while True:
        start = before + reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{name}, line {start}: a cell cannot be read ({error}); is a quote not closed?"
            ) from None
        if ended and whole:  # a record without quotes is complete before the end is seen
            raise ValueError(f"{name}, line {start}: a quote is opened in this row and never closed")
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield start, cells
