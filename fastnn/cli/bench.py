"""``fastnn bench``: run the cases, show the table, write the files asked for."""

from pathlib import Path

from rich.console import Console

from fastnn.bench import cases, report, runner
from fastnn.bench.contestants import TABLE


def bench(console: Console, quick: bool, threads: int, json: Path | None, plot: Path | None) -> None:
    """Run the ordinary cases, or the quick ones without ``torch.compile``, which takes its time."""
    chosen = cases.QUICK if quick else cases.ORDINARY
    contestants = [name for name in TABLE if not quick or name != "torch.compile"]
    with console.status("") as status:
        run = runner.run(
            list(chosen), contestants, threads, show=lambda text: status.update(f"timing: {text}")
        )
    report.show(run, console)
    if json is not None:
        run.save(json)
        console.print(f"record: {json}")
    if plot is not None:
        from fastnn.bench import roofline

        roofline.draw(run, plot)
        console.print(f"roofline: {plot}")
