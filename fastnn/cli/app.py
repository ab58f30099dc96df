"""The commands, their options and exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fastnn._version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Small and medium neural networks, trained and run fast on a CPU.",
)
console = Console()
errors = Console(stderr=True)


class OptimizerName(StrEnum):
    """The optimisers there are."""

    SGD = "SGD"
    ADAM = "Adam"


class DTypeName(StrEnum):
    """The dtypes there are."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"fastnn {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _parse_hidden(text: str) -> list[int]:
    try:
        widths = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        widths = [0]
    if any(width < 1 for width in widths):
        raise typer.BadParameter(f"{text!r} is no list of layer widths such as 128,64")
    return widths


@app.command()
def train(
    data: Annotated[
        str, typer.Argument(help="digits, mnist, or a file FILE.npz (arrays X, y) or FILE.csv")
    ] = "digits",
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers.")] = "128,64",
    activation: Annotated[str, typer.Option(help="Activation of the hidden layers.")] = "relu",
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    optimizer: Annotated[OptimizerName, typer.Option()] = OptimizerName.SGD,
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate: 0.02 for SGD, 0.001 for Adam.")
    ] = None,
    momentum: Annotated[float, typer.Option(min=0, max=1, help="Of SGD.")] = 0.9,
    dtype: Annotated[DTypeName, typer.Option()] = DTypeName.FLOAT64,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, split and shuffles.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Write the learning curve to this PNG.", dir_okay=False)
    ] = None,
    history: Annotated[
        Path | None, typer.Option(help="Write the history to this JSON file.", dir_okay=False)
    ] = None,
    compare_naive: Annotated[
        bool, typer.Option("--compare-naive", help="Train the plain NumPy reference too.")
    ] = False,
    data_folder: Annotated[
        Path | None, typer.Option(help="Folder of the MNIST files.", envvar="FASTNN_DATA")
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Download MNIST.")] = False,
) -> None:
    """Train a network and show how well and how fast it learned."""
    from fastnn.cli import train as command

    widths = _parse_hidden(hidden)
    for path in (plot, history):
        if path is not None and not path.absolute().parent.is_dir():
            raise typer.BadParameter(f"no folder {path.absolute().parent} for {path.name}")
    try:
        if plot is not None:
            command.require_matplotlib()
        dataset, loss = command.load(data, batch_size, seed, dtype.value, data_folder, download)
        run = command.Run(
            loss=loss,
            layers=[*({"n_out": w, "activation": activation} for w in widths)],
            optimizer={
                "name": optimizer.value,
                "lr": lr if lr is not None else {"SGD": 0.02, "Adam": 0.001}[optimizer.value],
                "momentum": momentum,
            },
            dtype=dtype.value,
            seed=seed,
            epochs=epochs,
        )
        command.train(run, dataset, console, plot, history, compare_naive)
    except (ValueError, TypeError, OSError, ImportError, NotImplementedError, IndexError) as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


@app.command()
def profile(
    kernel: Annotated[
        str | None, typer.Argument(help="softmax, losses.l2_backward ...; none: list the kernels")
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="Rows.")] = 256,
    k: Annotated[int, typer.Option(min=1, help="Columns.")] = 100,
    dtype: Annotated[DTypeName, typer.Option()] = DTypeName.FLOAT32,
    helpers: Annotated[
        bool, typer.Option("--helpers", help="Show the functions the kernel is made of, too.")
    ] = False,
    width: Annotated[int | None, typer.Option(min=20, help="Columns of the output.")] = None,
    color: Annotated[bool, typer.Option(help="Color; in a file, none by default.")] = True,
) -> None:
    """Show one kernel beside its naive twin: source, time, machine code, line profile."""
    from fastnn.cli import profile as command
    from fastnn.cli.twins import find

    found = [] if kernel is None else find(kernel)
    if kernel is not None and len(found) != 1:
        may_be = f"may be {', '.join(found)}" if found else "is no kernel"
        errors.print(f"{kernel!r} {may_be}", style="red", markup=False, highlight=False)
        errors.print(command.known())
        raise typer.Exit(2)
    output = Console(width=width, no_color=not color)
    if kernel is None:
        output.print(command.known())
        return
    try:
        command.show(output, found[0], n, k, dtype.value, helpers)
    except ValueError as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A few cases, in two minutes.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all cores.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the record to this JSON file.", dir_okay=False)
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the roofline to this PNG.", dir_okay=False)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the tables to this Markdown file.", dir_okay=False)
    ] = None,
) -> None:
    """Time kernels and training steps against plain NumPy and the peers that are installed."""
    from fastnn.bench.machine import cores
    from fastnn.cli import bench as command
    from fastnn.cli.train import require_matplotlib

    for path in (json, plot, markdown):
        if path is not None and not path.absolute().parent.is_dir():
            raise typer.BadParameter(f"no folder {path.absolute().parent} for {path.name}")
    try:
        if plot is not None:
            require_matplotlib()
        command.bench(console, quick, threads or cores(), json, plot, markdown)
    except (RuntimeError, OSError, ImportError) as error:
        errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from None


@app.command()
def warmup(
    dtype: Annotated[
        list[DTypeName] | None, typer.Option(help="May be given twice; by default both.")
    ] = None,
) -> None:
    """Compile ahead what training and inference use, for containers and CI."""
    from fastnn.cli import warmup as command

    command.warmup(console, [name.value for name in dtype or DTypeName])


@app.command()
def info() -> None:
    """Show versions, CPU, BLAS, threads and cache folder, to paste into a bug report."""
    from fastnn.cli.info import report

    print(report())
