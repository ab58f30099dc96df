"""The page and the picture of a training step's time, from the profiles that ``steps.py`` measures."""

import itertools
import math
import re

_HEAD = """# Where a training step's time goes

Written by `make step-profile`, every figure measured in that run: {machine}.

![Shares of each step's time](training-step.png)

A step is one Python call around a row of compiled phases
([`layers/dense.py`](../kernels/layers/dense.py)). `forward i` is layer i's `A = relu(X W + b)`. Phases
in which a thread takes the same rows are joined, as in `forward 3 and loss`. `backward i` is
`dX = dZ W^T`, with relu's gradient. `update` is `dW = X^T dZ` of all layers, subtracted from the
weights as it is made (plain SGD); a very large X is transposed before, `transposition i`. FLOPs are
those of the products. "Of peak" is against the multiply-adds that as many threads were measured to do
in the same second.

Python, from inside out: the *compiled call* is going into compiled code and coming back; *threads,
results* wakes helpers and returns the means; *optimiser* asks for the rates and clears caches; *checks*
makes sure that batch and parameters are as they were at the last step. These are measured with the
phases left out, in caches that nothing else uses; that, and helpers that come late, is why the sum and
the measured step differ a little. Where they differ by a tenth the machine was busy.

## What limits each shape

{limits}

The reasons, part by part:

- **Python** costs the same few microseconds for any shape. It is what a small network waits for. `fit`
  does not pay it: there a stretch of many batches is one call.
- **loss** is exponentials and logarithms, and a product with so few columns that they fill part of a
  vector; its FLOPs count for little.
- **forward** comes close to the peak where rows and columns fill whole tiles. What is missing is mostly
  reading weights from beyond the first-level cache.
- **backward** transposes `W` first, anew in every step since `W` has changed; that is no FLOP.
- **update** reads and writes every weight once for sums that are only as long as the batch: the fewer
  rows, the more of its time is not arithmetic.
- **Several threads** wait for each other after every phase, and what one core wrote goes to the other's
  cache line by line. A virtual machine's cores are near each other at one time and far apart at
  another, so this varies most between rounds; phases of a few microseconds may take longer on two
  threads than on one. A step that is too small for several threads uses one.
"""
_COLOURS = {
    "forward": "#2a78b5",
    "loss": "#e08a1e",
    "backward": "#6fb1dd",
    "transposition": "#9ad0b5",
    "update": "#2f8f6b",
    "Python": "#8a8a8a",
    "not in the parts": "#d9d9d9",
}


def write(run, profiles, page):
    """Write the page, and the picture beside it."""
    draw(profiles, page.with_suffix(".png"))
    about = run.machine
    machine = (
        f"{about['processor']} ({about['kernels for']}), {about['cores']} cores, Python "
        f"{about['python']}, numba {about['numba']}; commit {run.commit}, {run.date}, load average "
        f"{about['load']}"
    )
    groups = [list(same) for _, same in itertools.groupby(profiles, key=lambda p: p.case.key)]
    limits = "\n".join(f"- **{name(same[0])}**: {' '.join(map(limit, same))}" for same in groups)
    sections = [f"## {name(same[0])}\n\n{table(same)}" for same in groups]
    head = _HEAD.format(machine=machine, limits=limits)
    page.write_text("\n".join([head, *sections]), encoding="utf-8")


def name(profile):
    case = profile.case
    return f"batch {case.n}; {'-'.join(map(str, case.widths))}; {case.dtype}"


def threads(profile):
    return f"{profile.threads} thread{'s' * (profile.threads > 1)}"


def parts(profile):
    """Return the seconds and operations of each kind of part; what is missing from the step, last."""
    found = dict.fromkeys(_COLOURS, (0.0, 0))
    for phase, seconds in profile.phases.items():
        kind = re.sub(r"forward \d+ and | \d+", "", phase)
        before = found[kind]
        found[kind] = before[0] + seconds, before[1] + profile.flops[phase]
    found["Python"] = sum(profile.python.values()), 0
    return found | {"not in the parts": (profile.step - profile.sum, 0)}


def limit(profile):
    """Return in words how far from the peak a step is, and where the time beyond it goes."""
    beyond = profile.step - profile.at_peak
    shares = {
        kind: (seconds - flops / profile.peak) / beyond
        for kind, (seconds, flops) in parts(profile).items()
    }
    largest = sorted((kind for kind in shares if shares[kind] > 0.1), key=shares.get, reverse=True)
    alone = "" if profile.shared or profile.threads == 1 else ", of which it uses one"
    return (
        f"At {threads(profile)}{alone}, {us(profile.step)} us ({us(min(profile.steps))} to "
        f"{us(max(profile.steps))} over the rounds), {profile.step / profile.at_peak:.2f} times what "
        f"its FLOPs take at the peak. Of the {us(beyond)} us beyond that: "
        f"{', '.join(f'{kind} {shares[kind]:.0%}' for kind in largest)}."
    )


def table(profiles):
    """Return a case's table, a few columns for each number of threads."""
    headings = ["", "FLOPs"]
    for p in profiles:
        headings += [f"{threads(p)}, us", "GFLOP/s", "of peak"]
    rows = [
        row(phase, [(p, p.flops.get(phase, 0), p.phases.get(phase)) for p in profiles])
        for phase in dict.fromkeys(phase for p in profiles for phase in p.phases)
    ]
    rows += [
        row(f"Python: {call}", [(p, 0, p.python[call]) for p in profiles])
        for call in profiles[0].python
    ]
    for title, whole in (
        ("**sum**", "sum"), ("**step, measured**", "step"), ("its FLOPs at the peak", "at_peak")
    ):  # fmt: skip
        rows.append(row(title, [(p, p.case.flops, getattr(p, whole)) for p in profiles]))
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def row(title, cells):
    """Return a row of ``(profile, operations, seconds)``; seconds None where there is no such part."""
    flops = max(count for _, count, _ in cells)
    line = [title, f"{flops:,}" if flops else ""]
    for profile, count, seconds in cells:
        line.append("" if seconds is None else us(seconds))
        if count:
            line += [f"{count / seconds / 1e9:.0f}", f"{count / seconds / profile.peak:.0%}"]
        else:
            line += ["", ""]
    return line


def us(seconds):
    """Return microseconds to three digits or more."""
    value = 1e6 * seconds
    return f"{value:,.{max(0, 2 - int(math.log10(max(abs(value), 1))))}f}"


def draw(profiles, path):
    """Draw a bar for each step, its time as 100%, to a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.55 * len(profiles) + 1.6), layout="constrained")
    axes = figure.subplots()
    cases = list(dict.fromkeys(p.case.key for p in profiles))
    places = [i + 0.35 * cases.index(p.case.key) for i, p in enumerate(profiles)]
    lefts = [0.0] * len(profiles)
    for kind, colour in _COLOURS.items():
        shares = [100 * max(parts(p)[kind][0], 0) / p.step for p in profiles]
        if not any(shares):
            continue
        axes.barh(places, shares, 0.8, lefts, color=colour, label=kind, edgecolor="white")
        lefts = [left + share for left, share in zip(lefts, shares, strict=True)]
    for place, p in zip(places, profiles, strict=True):
        at_peak = 100 * p.at_peak / p.step
        label = "its FLOPs at the measured peak" if place == 0 else None
        axes.plot([at_peak] * 2, [place - 0.45, place + 0.45], color="black", linewidth=2, label=label)
    axes.set_yticks(
        places, [f"{name(p)}\n{threads(p)}, {us(p.step)} us" for p in profiles], fontsize=8.5
    )  # fmt: skip
    axes.set(xlabel="% of the step's measured time", xlim=(0, max(100, *lefts)))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    figure.savefig(path, dpi=100)
