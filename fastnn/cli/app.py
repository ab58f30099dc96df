"""The commands, their options and exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from fastnn._version import __version__
from fastnn.cli.networks import ModelName
from fastnn.cli.usage import UsageError, require_outputs, require_picture
from fastnn.saving.tensors import require_safetensors

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


class TaskName(StrEnum):
    """What a target may be."""

    CLASS = "class"
    NUMBER = "number"


@contextmanager
def _failures() -> Iterator[None]:
    """Print an error as one line; exit with 2 for wrong usage, else with 1."""
    try:
        yield
    except typer.Exit:  # a RuntimeError
        raise
    except UsageError as error:
        _fail(error, 2)
    except MemoryError as error:
        _fail(f"not enough memory: {error}", 1)
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, IndexError) as error:
        _fail(error, 1)  # NotImplementedError is a RuntimeError


def _fail(message: Any, code: int) -> NoReturn:
    line = " ".join(f"error: {message}".splitlines())
    errors.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code) from None


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
        raise UsageError(f"--hidden: {text!r} is no list of layer widths such as 128,64")
    return widths


def _parse_activation(name: str) -> str:
    from fastnn.activations import ACTIVATIONS

    if name.lower() not in ACTIVATIONS:
        raise UsageError(f"--activation: unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}")
    return name.lower()


@app.command()
def train(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="digits, mnist, sinewave, FILE.csv (also .tsv, .txt, .gz) or FILE.npz (arrays X, y)."
        ),
    ] = "digits",
    target: Annotated[
        str, typer.Option(help="Column of the target in a CSV file: name or index.", metavar="COLUMN")
    ] = "-1",
    task: Annotated[
        TaskName | None,
        typer.Option(case_sensitive=False, help="What the target is. By default its values decide."),
    ] = None,
    sep: Annotated[str | None, typer.Option(help=r"Separator of a CSV file; \t is a tab.")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether a CSV file has a header.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of a CSV file.")] = "utf-8",
    model: Annotated[
        ModelName,
        typer.Option(
            case_sensitive=False, help="mlp: dense layers; lenet: for mnist; elman: for sinewave."
        ),
    ] = ModelName.MLP,
    hidden: Annotated[
        str, typer.Option(help="Widths of the hidden layers; for elman, the default is 32.")
    ] = "128,64",
    activation: Annotated[
        str, typer.Option(help="Activation of the hidden layers; for elman, the default is tanh.")
    ] = "relu",
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    optimizer: Annotated[OptimizerName, typer.Option(case_sensitive=False)] = OptimizerName.SGD,
    lr: Annotated[
        float | None, typer.Option(min=0, help="Learning rate: 0.02 for SGD, 0.001 for Adam.")
    ] = None,
    momentum: Annotated[float, typer.Option(min=0, max=1, help="Of SGD.")] = 0.9,
    l2: Annotated[float, typer.Option(min=0, help="Penalty on the weights of all layers.")] = 0.0,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many epochs without a lower validation loss."),
    ] = None,
    dtype: Annotated[DTypeName, typer.Option(case_sensitive=False)] = DTypeName.FLOAT64,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, split and shuffles.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Write the learning curve to this picture, .png or .svg.")
    ] = None,
    history: Annotated[Path | None, typer.Option(help="Write the history to this JSON file.")] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Write the network to this file, for fastnn.load; it takes raw features."),
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
    from fastnn.cli import networks, problem
    from fastnn.cli import train as command

    sources = {name: context.get_parameter_source(name) for name in context.params}
    given = {name for name, found in sources.items() if found and found.name == "COMMANDLINE"}
    separator = "\t" if sep == r"\t" else sep
    with _failures():
        source = problem.Source(
            data,
            target,
            task.value if task else "auto",
            separator,
            header,
            encoding,
            data_folder,
            download,
        )
        source.check(given)
        widths = _parse_hidden(hidden)
        networks.require(model, source.kind, given, widths)
        if "momentum" in given and optimizer is OptimizerName.ADAM:
            raise UsageError("--momentum does nothing with Adam: it is for SGD")
        if compare_naive and patience is not None:
            raise UsageError("--patience does not go with --compare-naive, which trains all epochs")
        function = _parse_activation(activation)
        require_outputs({"--plot": plot, "--history": history, "--save": save}, Path(data))
        require_picture("--plot", plot)
        if save is not None:
            require_safetensors()
        run = command.Run(
            layers=networks.layers(model, widths, function, given),
            optimizer={
                "name": optimizer.value,
                "lr": lr if lr is not None else {"SGD": 0.02, "Adam": 0.001}[optimizer.value],
                "momentum": momentum,
            },
            l2=l2,
            dtype=dtype.value,
            seed=seed,
            epochs=epochs,
            patience=patience,
        )
        found = problem.load(source, batch_size, seed, dtype.value)
        if model is ModelName.LENET:
            problem.as_images(found)
        outputs = command.Outputs(plot, history, save)
        command.train(run, found, console, errors, outputs, compare_naive)


@app.command()
def profile(
    kernel: Annotated[
        str | None, typer.Argument(help="softmax, losses.l2_backward ...; none: list the kernels")
    ] = None,
    n: Annotated[int, typer.Option(min=1, help="Rows.")] = 256,
    k: Annotated[int, typer.Option(min=1, help="Columns.")] = 100,
    dtype: Annotated[DTypeName, typer.Option(case_sensitive=False)] = DTypeName.FLOAT32,
    helpers: Annotated[
        bool, typer.Option("--helpers", help="Show the functions the kernel is made of, too.")
    ] = False,
    width: Annotated[int | None, typer.Option(min=20, help="Columns of the output.")] = None,
    color: Annotated[bool, typer.Option(help="Color; in a file, none by default.")] = True,
) -> None:
    """Show one kernel beside its naive twin: source, time, machine code, line profile."""
    from fastnn.cli import profile as command
    from fastnn.reference.twins import find

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
    with _failures():
        command.show(output, found[0], n, k, dtype.value, helpers)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A few cases, in two minutes.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Default: all cores.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the record to this JSON file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the roofline to this PNG.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the tables to this Markdown file.")
    ] = None,
    isa: Annotated[
        str, typer.Option(help="Hold contestants to an instruction set: avx2. Default: none.")
    ] = "",
) -> None:
    """Time kernels and training steps against plain NumPy and the peers that are installed."""
    from fastnn.bench.machine import cores
    from fastnn.cli import bench as command

    with _failures():
        require_outputs({"--json": json, "--plot": plot, "--markdown": markdown})
        require_picture("--plot", plot)
        command.bench(console, quick, threads or cores(), json, plot, markdown, isa)


@app.command()
def warmup(
    dtype: Annotated[
        list[DTypeName] | None,
        typer.Option(case_sensitive=False, help="May be given twice; by default both."),
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
