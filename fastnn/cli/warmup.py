"""``fastnn warmup``: compile ahead, and show what took how long."""

from rich.console import Console
from rich.table import Table

from fastnn import _warmup
from fastnn.kernels.compiling import cache


def warmup(console: Console, dtypes: list[str]) -> None:
    """Compile and print the table."""
    table = Table()
    for heading in ("dtype", "part", "kernels compiled", "seconds"):
        table.add_column(heading, justify="right" if heading[-1] in "ds" else "left")
    compiled, seconds = 0, 0.0
    with console.status("compiling ...") as status:
        for row in _warmup.parts(dtypes):
            table.add_row(row.dtype, row.part, str(row.compiled), f"{row.seconds:.2f}")
            compiled += row.compiled
            seconds += row.seconds
            status.update(f"compiling: {row.dtype}, {row.part} done, {compiled} kernels")
    console.print(table)
    console.print(f"{compiled} kernels compiled in {seconds:.1f} s, kept in {cache.folder()}")
