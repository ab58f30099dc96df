"""``fastnn bench``: run the cases, show the table, write the files asked for."""

from pathlib import Path

from rich.console import Console

from fastnn.bench import cases, report, runner, startup
from fastnn.bench.contestants import TABLE


def bench(
    console: Console,
    quick: bool,
    threads: int,
    json: Path | None,
    plot: Path | None,
    markdown: Path | None,
    isa: str,
) -> None:
    """Run ordinary cases and start-up, or only quick cases without ``torch.compile``, which is slow."""
    chosen = cases.QUICK if quick else cases.ORDINARY
    contestants = [name for name in TABLE if not quick or name != "torch.compile"]
    with console.status("") as status:
        run = runner.run(
            list(chosen),
            contestants,
            threads,
            show=lambda text: status.update(f"timing: {text}"),
            isa=isa,
        )
        if not (quick or isa):  # start-up cannot be held
            run.results += startup.measure(threads, show=status.update)
    report.show(run, console)
    report.save(run, json, markdown)
    for kind, path in {"record": json, "tables": markdown}.items():
        if path is not None:
            console.print(f"{kind}: {path}")
    if plot is not None:
        from fastnn.bench import roofline

        roofline.draw(run, plot)
        console.print(f"roofline: {plot}")
