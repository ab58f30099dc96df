"""The landing page's table and figure, from what ``benchmarks.md`` says of training steps."""

from pathlib import Path

# Columns of figure and table, and of the page those that each is the best of.
NAMES = {
    "fastnn": ("fastnn",),
    "NumPy": ("numpy",),
    "JAX": ("jax",),
    "PyTorch": ("torch", "torch.compile"),
    "scikit-learn": ("sklearn",),
    "naive": ("naive",),
}


def machine(page: Path) -> str:
    """Return the page's line on machine, commit and versions."""
    return next(line for line in page.read_text(encoding="utf-8").splitlines() if "commit" in line)


def training_steps(page: Path) -> dict[str, dict[str, float]]:
    """Return microseconds, by case and by name, of the page's table of training steps."""
    lines = iter(page.read_text(encoding="utf-8").splitlines())
    next(line for line in lines if line.startswith("**Training step"))
    rows = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("| ").split("|")])
        elif rows:
            break
    columns = rows[0]
    found = {}
    for case, *cells in rows[2:]:
        times = {
            name: float(cell.replace(",", ""))
            for name, cell in zip(columns, cells, strict=True)
            if any(name in group for group in NAMES.values()) and cell != "-"
        }
        found[case] = {
            name: min(times[column] for column in group if column in times)
            for name, group in NAMES.items()
            if not times.keys().isdisjoint(group)
        }
    return found


def table(steps: dict[str, dict[str, float]], cases: int = 4) -> str:
    """Return the first cases as a Markdown table."""
    names = [name for name in NAMES if any(name in times for times in steps.values())]
    lines = [["microseconds", *names], ["---", *["---:"] * len(names)]]
    for case, times in list(steps.items())[:cases]:
        lines.append([case, *(_rounded(times.get(name)) for name in names)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rounded(microseconds: float | None) -> str:
    if microseconds is None:
        return "-"
    return f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.3g}"


def draw(steps: dict[str, dict[str, float]], path: Path, ink: str) -> None:
    """Draw every contestant's time as a multiple of fastnn's, in an ink that suits the background."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator

    figure = Figure(figsize=(8, 0.6 + 0.42 * len(steps)), layout="constrained")
    axis = figure.add_subplot()
    colours = ("#2aa876", "#4c9fd6", "#9b6fd0", "#e4572e", "#f4a340", "#888888")
    for (name, marker), colour in zip(zip(NAMES, "oDv^sX", strict=True), colours, strict=True):
        points = [
            (times[name] / times["fastnn"], y)
            for y, times in enumerate(steps.values())
            if name in times
        ]
        x, y = zip(*points, strict=True)
        axis.scatter(x, y, 70, colour, marker, label=name, zorder=3)
    axis.axvline(1, color=colours[0], linewidth=2)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator([1, 2, 5, 10, 20, 50, 100]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:g}x")
    axis.set_xlabel("time of a training step, fastnn = 1", color=ink)
    axis.set_yticks(range(len(steps)), steps)
    axis.invert_yaxis()
    axis.tick_params(colors=ink)
    axis.grid(axis="x", alpha=0.3)
    axis.spines[:].set_visible(False)
    legend = figure.legend(loc="outside upper center", ncols=6, frameon=False)
    for text in legend.get_texts():
        text.set_color(ink)
    figure.savefig(path, transparent=True)
