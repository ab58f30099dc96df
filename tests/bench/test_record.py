"""Records on made-up figures: kept, merged, compared."""

import json

import pytest
from rich.console import Console

from fastnn.bench import bounds, history, record, report, roofline
from fastnn.bench.bounds import SIZES, Bounds
from fastnn.bench.cases import QUICK
from fastnn.bench.networks import PUBLISHED
from fastnn.bench.record import Record, Result

BOUNDS = Bounds(
    2,
    {"float32": 2e11, "float64": 1e11},
    {"float32": 5e9, "float64": 2e9},
    {"0": [1e11] * len(SIZES), "1": [2e11] * len(SIZES), "2": [3e11] * len(SIZES)},
)
CASE = QUICK[1].key


def made_up(*results, **contestants):
    about = {
        "processor": "made up", "cores": 2, "caches": {"L1": 2**15, "L2": 2**20}, "system": "none",
        "python": "3", "numpy": "2", "load": 0.0,
    }  # fmt: skip
    found = {name: "1" for result in results for name in result.us} | contestants
    return Record(about, "abc", "2026-01-01 00:00", found, [BOUNDS], list(results))


def timed(case=CASE, threads=2, **us):
    return Result(case, threads, us)


def text(run):
    console = Console(width=160, record=True)
    report.show(run, console)
    return console.export_text()


def test_a_record_comes_back_from_its_file(tmp_path):
    run = made_up(timed(numpy=[10.0, 11.0, 12.0], fastnn=[1.0, 2.0, 3.0]), torch=record.ABSENT)
    run.results.append(Result("tanh", 1, {}, {"torch": "died"}))
    run.save(tmp_path / "run.json")
    assert record.load(tmp_path / "run.json") == run
    lines = (tmp_path / "run.json").read_text(encoding="utf-8").splitlines()
    assert sum('"case"' in line for line in lines) == 2
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["commit"] == "abc"


def test_a_record_has_no_numbers_that_json_has_not(tmp_path):
    run = made_up(timed(numpy=[10.0, float("nan")], fastnn=[float("inf")]))
    run.save(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail)["results"][0]["us"]["numpy"] == [10.0, None]
    assert repr(record.load(tmp_path / "run.json").results[0].us["numpy"]) == "[10.0, nan]"
    (tmp_path / "run.json").write_text(text.replace("null", "NaN"), encoding="utf-8")  # as it was
    assert repr(record.load(tmp_path / "run.json").results[0].us["fastnn"]) == "[nan]"


def test_rounds_and_contestants_merge():
    merged = record.merge([
        timed(fastnn=[1.0]), timed(numpy=[9.0]), timed(fastnn=[3.0]), timed(fastnn=[2.0]),
        timed(threads=1, fastnn=[5.0]), Result(CASE, 2, {}, {"jax": "died"}),
    ])  # fmt: skip
    both, single = merged
    assert both.us == {"numpy": [9.0], "fastnn": [1.0, 3.0, 2.0]}
    assert both.failed == {"jax": "died"}
    assert both.median("fastnn") == 2.0
    assert both.median("jax") is None
    assert single.us == {"fastnn": [5.0]}


OLD = {"numpy": [100.0, 101.0, 99.0], "fastnn": [10.0, 10.2, 10.1]}


@pytest.mark.parametrize(
    ("new", "lost"),
    [
        ({"numpy": [100.0, 101.0, 99.0], "fastnn": [12.0, 12.1, 12.2]}, True),
        ({"numpy": [300.0, 303.0, 297.0], "fastnn": [36.0, 36.3, 36.6]}, True),  # a slower machine
        ({"numpy": [100.0, 100.0, 100.0], "fastnn": [10.5, 10.8, 10.6]}, False),  # less than a tenth
        ({"numpy": [300.0, 303.0, 297.0], "fastnn": [30.0, 30.6, 30.3]}, False),  # all of it slower
        ({"numpy": [100.0, 100.0, 100.0], "fastnn": [10.0, 18.0, 17.0]}, False),  # noise: overlaps
        ({"numpy": [100.0, 100.0, 100.0], "fastnn": [5.0, 5.1, 5.0]}, False),
    ],
)
def test_what_is_lost_is_told_from_noise(new, lost):
    (change,) = record.compare(made_up(timed(**OLD)), made_up(timed(**new)))
    assert change.lost is lost
    assert change.baseline == "numpy"


def test_the_loop_is_the_baseline_where_there_is_no_other():
    old, new = (made_up(timed(naive=[100.0], fastnn=[t])) for t in (1.0, 2.0))
    (change,) = record.compare(old, new)
    assert (change.baseline, change.before, change.after, change.lost) == ("naive", 0.01, 0.02, True)


def test_only_what_both_have_is_compared():
    old = made_up(timed(**OLD))
    for new in (
        timed("other", **OLD),
        timed(threads=1, **OLD),
        timed(numpy=[1.0]),
        timed(fastnn=[1.0]),
    ):
        assert record.compare(old, made_up(new)) == []


def test_changes_are_printed_with_their_mark():
    console = Console(width=150, record=True)
    worse = {"numpy": OLD["numpy"], "fastnn": [20.0, 20.4, 20.2]}
    report.changes(record.compare(made_up(timed(**OLD)), made_up(timed(**worse))), console)
    assert "+100%" in (printed := console.export_text())
    assert "lost" in printed


def cells_of(printed, case):
    row = next(line for line in printed.splitlines() if case in line)
    return [cell.strip() for cell in row.split("│" if "│" in row else "|")[1:-1]]


def test_the_table_reads_across():
    result = timed(naive=[500.0], numpy=[90.0], torch=[30.0], fastnn=[20.0], bound=[5.0])
    result.bound_by = "bytes"
    cells = cells_of(text(made_up(result)), CASE)
    assert cells == [CASE, "500", "90", "30", "20", "5", "25", "1.50 torch", "25% bytes"]


def test_networks_have_tables_of_their_own():
    step, forward = "batch 1 2-3 float32", "batch 7 2-3 float32"
    run = made_up(
        timed(f"training_step {step}", blas=[10.0], jax=[30.0], fastnn=[20.0]),
        timed(f"training_step {forward}", blas=[10.0], jax=[10.0], fastnn=[20.0]),
        timed(f"inference {forward}", onnxruntime=[5.0], fastnn=[10.0]),
    )
    printed = text(run)
    assert cells_of(printed, step) == [step, "10", "30", "20", "1.50 jax", "2", "-"]
    assert "best peer / fastnn: mean 0.87, worst 0.50 (training_step batch 7" in printed
    markdown = report.markdown(run)
    assert "**Training step, microseconds, 2 threads**" in markdown
    inference = markdown.partition("**Inference")[2]
    assert cells_of(inference, forward) == [forward, "5", "10", "0.50 onnxruntime", "-"]


def test_the_absent_and_the_failed_are_named():
    run = made_up(timed(numpy=[90.0], fastnn=[20.0]), torch=record.ABSENT, jax="1")
    run.results[0].failed["jax"] = "off by 1"
    printed = text(run)
    assert "absent: torch is not installed" in printed
    assert f"failed: jax, {CASE}: off by 1" in printed
    assert next(line for line in printed.splitlines() if CASE in line).count("failed") == 1


def test_who_is_not_held_to_an_instruction_set_is_named():
    run = made_up(timed(fastnn=[10.0], onnxruntime=[20.0], jax=[30.0]), openvino=record.ABSENT)
    run.isa = "avx2"
    assert "2 threads, AVX2" in text(run)
    assert "not held to AVX2: onnxruntime; it has no switch\n" in text(run)
    assert "not held to AVX2: openvino" not in text(run)
    run.isa = ""
    assert "AVX2" not in text(run)


def test_a_published_figure_is_a_note_and_no_column():
    case = next(iter(PUBLISHED))
    run = made_up(timed(case, fastnn=[10.0], jax=[30.0]))
    notes = [note for note in report.notes(run) if note.startswith("published, not measured here")]
    assert notes == [f"published, not measured here: {case}: {PUBLISHED[case]}"]
    assert notes[0] in report.markdown(run)
    assert "3.00 jax" in report.markdown(run)


@pytest.mark.parametrize(("us", "told"), [(10.0, False), (4.0, True)])
def test_who_is_faster_than_a_bound_shows_that_it_is_none(us, told):
    notes = report.notes(made_up(timed(fastnn=[us], bound=[5.0])))
    assert any("faster than its bound" in note for note in notes) == told


def test_a_busy_machine_is_doubted():
    run = made_up(timed(numpy=[90.0], fastnn=[20.0]))
    assert "busy" not in text(run)
    run.machine["load"] = 99.0
    assert "the machine is busy: load average 99.0" in text(run)


def test_a_bound_is_that_of_the_slowest_resource(monkeypatch):
    meter = bounds.Meter(2)
    monkeypatch.setattr(meter, "bandwidth", lambda size, reads: 2e11 + 1e11 * (reads == 2))
    monkeypatch.setattr(meter, "flops", lambda dtype: 2e11)
    monkeypatch.setattr(meter, "divisions", lambda dtype: 5e9)
    tanh, relu, jvp = (
        next(c for c in QUICK if c.kernel == name) for name in ("tanh", "relu", "softmax_jvp")
    )
    assert meter.least(tanh) == (tanh.divisions / 5e9, "divisions")
    assert meter.least(relu) == (relu.bytes / 2e11, "bytes")
    assert meter.least(jvp) == (jvp.bytes / 3e11, "bytes")
    assert BOUNDS.bytes_per_second(1e6, reads=2) == pytest.approx(3e11)


def test_pictures_are_drawn(tmp_path):
    import matplotlib.image

    results = [timed(case.key, naive=[900.0], numpy=[800.0], fastnn=[50.0]) for case in QUICK]
    runs = [made_up(*results), made_up(*results[:3])]
    roofline.draw(runs[0], tmp_path / "roofline.png")
    history.draw(runs, tmp_path / "history.png")
    for name in ("roofline.png", "history.png"):
        picture = matplotlib.image.imread(tmp_path / name)
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.01
