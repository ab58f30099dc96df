"""Callbacks: what they are told and when, how they end a run, and what they write."""

import csv
import json
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

import fastnn

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)
QUIET = {"batch_size": 20, "verbose": False}


class Twice(fastnn.Activation):
    """A user's own, which trains a step at a time."""

    def forward(self, Z):
        return 2 * Z

    def backward(self, Z, dY):
        return 2 * dY


def network(activation="relu", optimizer=None):
    layers = [fastnn.FullyConnected(6, activation), fastnn.FullyConnected(3, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, optimizer or fastnn.SGD(0.1), seed=0)


def weights(net):
    return [p.copy() for layer in net.layers for p in layer.parameters.values()]


class Recorder(fastnn.Callback):
    """Keeps what it is told; does as bid at one of the hooks, the n-th time it is called."""

    def __init__(self, at="", act=lambda run: None, call=1):
        self.at, self.act, self.call, self.told = at, act, call, []

    def note(self, hook, run, *figures):
        self.told.append((hook, run.epoch, *figures))
        if hook == self.at and [h for h, *_ in self.told].count(hook) == self.call:
            self.act(run)

    def on_train_begin(self, run):
        self.note("train begin", run)

    def on_epoch_begin(self, run):
        self.note("epoch begin", run)

    def on_batches_end(self, run, losses, errors):
        self.note("batches end", run, losses, errors)

    def on_epoch_end(self, run):
        self.note("epoch end", run, run.figures)

    def on_train_end(self, run):
        self.note("train end", run)

    @property
    def order(self):
        """Each hook and epoch; of several stretches in a row one."""
        pairs = [told[:2] for told in self.told]
        return [b for a, b in zip([None, *pairs], pairs, strict=False) if a != b]


@pytest.mark.parametrize("activation", ["relu", Twice()], ids=["compiled", "by layers"])
def test_every_batch_and_epoch_is_told_in_order(activation):
    recorder, net = Recorder(), network(activation)
    history = net.fit(X, Y, 2, validation_data=(X, Y), callbacks=[recorder], **QUIET)
    epochs = [
        (f"{hook}", epoch) for epoch in (0, 1) for hook in ("epoch begin", "batches end", "epoch end")
    ]
    assert recorder.order == [("train begin", 0), *epochs, ("train end", 2)]
    for epoch in (0, 1):
        steps = [told[2:] for told in recorder.told if told[:2] == ("batches end", epoch)]
        losses, errors = map(np.concatenate, zip(*steps, strict=True))
        assert len(losses) == len(errors) == 5
        sizes = np.array([QUIET["batch_size"]] * 4 + [len(X) - 4 * QUIET["batch_size"]])
        assert np.average(losses, weights=sizes) == pytest.approx(history.loss[epoch], rel=1e-12)
        assert np.average(errors, weights=sizes) == pytest.approx(history.error[epoch], rel=1e-12)
    ends = [told[2] for told in recorder.told if told[0] == "epoch end"]
    assert [figures["validation_loss"] for figures in ends] == history.validation_loss


def test_callbacks_change_no_bit_of_what_is_trained():
    alone, told = network(), network()
    alone.fit(X, Y, 4, **QUIET)
    told.fit(X, Y, 4, callbacks=[Recorder(), fastnn.LearningRateLog()], **QUIET)
    assert alone.history == told.history
    for a, b in zip(weights(alone), weights(told), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("hook", "call", "finished"),
    [("train begin", 1, 0), ("epoch begin", 2, 1), ("epoch end", 2, 2), ("batches end", 1, 0)],
)
def test_a_run_is_ended_after_all_were_told(hook, call, finished):
    first, last = Recorder(hook, lambda run: run.stop("enough"), call), Recorder()
    net = network(Twice())
    history = net.fit(X, Y, 5, callbacks=[first, last], **QUIET)
    assert len(history.loss) == finished
    assert first.order == last.order
    assert last.told[-1][0] == "train end"
    assert len(net.fit(X, Y, 2, **QUIET).loss) == 2


def test_the_epoch_counts_that_is_ended_with_its_last_batch():
    recorder = Recorder("batches end", lambda run: run.stop(), 5)
    assert len(network(Twice()).fit(X, Y, 3, callbacks=[recorder], **QUIET).loss) == 1


def fail(run):
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "hook", ["train begin", "epoch begin", "batches end", "epoch end", "train end"]
)
def test_an_error_reaches_the_caller_and_the_network_trains_on(hook):
    before, failing, net = Recorder(), Recorder(hook, fail), network()
    with pytest.raises(ZeroDivisionError):
        net.fit(X, Y, 2, callbacks=[before, failing], **QUIET)
    assert before.told[-1][0] == "train end"
    assert len(net.fit(X, Y, 3, **QUIET).loss) == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([fastnn.LearningRateLog(), print], r"callbacks\[1\] must be a Callback object.*print"),
        ([fastnn.EarlyStopping], r"callbacks\[0\] must be a Callback object.*class.*EarlyStopping"),
        (fastnn.EarlyStopping(), r"callbacks must be a sequence.*EarlyStopping\(\)"),
        (None, "callbacks must be a sequence"),
    ],
)
def test_what_is_no_callback_is_named_and_nothing_changes(wrong, message):
    net = network()
    net.fit(X, Y, 1, **QUIET)
    parameters, history, state = weights(net), net.history, net.rng.bit_generator.state
    dataset = fastnn.Dataset.from_arrays(X, Y)
    for attempt in (lambda: net.fit(X, Y, callbacks=wrong), lambda: net.train(dataset, 1, wrong)):
        with pytest.raises(TypeError, match=message):
            attempt()
    assert net.history is history
    assert net.rng.bit_generator.state == state
    for a, b in zip(weights(net), parameters, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_keeps_the_best(restore_best):
    values, seen = iter([3.0, 2.0, float("nan"), 1.95, 2.5, 0.0]), []

    def measure(net):
        seen.append(weights(net))
        return next(values)

    stopping = fastnn.EarlyStopping(measure, patience=3, min_delta=0.1, restore_best=restore_best)
    net = network()
    history = net.fit(X, Y, 50, callbacks=[stopping], **QUIET)
    assert len(history.loss) == 5
    assert (stopping.best, stopping.best_epoch) == (2.0, 1)
    for a, b in zip(weights(net), seen[1 if restore_best else 4], strict=True):
        np.testing.assert_array_equal(a, b)
    before = net.evaluate(X, Y)[0]
    assert net.fit(X, Y, 20, **QUIET).loss[-1] < before  # the compiled steps see what was put back


def test_the_best_epoch_is_put_back_when_another_callback_fails():
    stopping = fastnn.EarlyStopping(lambda net: net.optimizer.epoch, patience=9)  # best at once
    first, net = [], network()
    kept = Recorder("epoch end", lambda run: first.extend(weights(run.net)))
    with pytest.raises(ZeroDivisionError):
        net.fit(X, Y, 9, callbacks=[kept, stopping, Recorder("epoch end", fail, 4)], **QUIET)
    for a, b in zip(weights(net), first, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("monitor", ["loss", "error", "validation_loss", "validation_error"])
def test_early_stopping_by_name(monitor):
    stopping = fastnn.EarlyStopping(monitor, patience=2)
    still = network(optimizer=fastnn.SGD(0.0))
    history = still.fit(X, Y, 50, validation_data=(X, Y), shuffle=False, callbacks=[stopping], **QUIET)
    assert len(history.loss) == 3
    assert stopping.best == getattr(history, monitor)[0]


def test_early_stopping_says_what_it_needs():
    with pytest.raises(NotImplementedError, match="'loss', 'error', 'validation_loss'"):
        fastnn.EarlyStopping("accuracy")
    with pytest.raises(ValueError, match="patience must be at least 1"):
        fastnn.EarlyStopping(patience=0)
    net = network()
    with pytest.raises(ValueError, match=r"EarlyStopping\(\) needs validation data"):
        net.fit(X, Y, callbacks=[fastnn.EarlyStopping()], **QUIET)
    assert not net.layers[0].parameters


def test_learning_rates_follow_the_schedule():
    log, schedule = fastnn.LearningRateLog(), fastnn.Exponential(0.2, 0.5, 2)
    network(optimizer=fastnn.SGD(lr_scheduler=schedule)).fit(X, Y, 5, callbacks=[log], **QUIET)
    assert log.rates == [0.2 * 0.5 ** (epoch / 2) for epoch in range(5)]


def test_logs_hold_the_history_to_the_last_digit(tmp_path):
    paths = tmp_path / "run.csv", tmp_path / "run.jsonl"
    told = [fastnn.CSVLog(paths[0]), fastnn.JSONLog(paths[1])]
    net = network()
    histories = [
        net.fit(X, Y, 2, validation_data=(X, Y), callbacks=told, **QUIET),
        net.fit(X, Y, 1, callbacks=told, **QUIET),
    ]
    with paths[0].open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    lines = [json.loads(line) for line in paths[1].read_text(encoding="utf-8").splitlines()]
    assert [row["epoch"] for row in table] == ["1", "2", "1"]
    for rows in (table, lines):
        assert [float(row["loss"]) for row in rows] == histories[0].loss + histories[1].loss
        assert [float(row["validation_error"]) for row in rows[:2]] == histories[0].validation_error
        assert {float(row["learning_rate"]) for row in rows} == {0.1}
    assert table[2]["validation_loss"] == ""
    assert "validation_loss" not in lines[2]


def test_a_log_goes_on_after_half_a_line_and_leaves_other_files_alone(tmp_path):
    path, other = tmp_path / "run.jsonl", tmp_path / "other.csv"
    path.write_text('{"epoch": 1}\n{"epo', encoding="utf-8")
    diverging = network(optimizer=fastnn.SGD(1e300))
    with pytest.warns(RuntimeWarning, match="the training loss is nan"):
        diverging.fit(X, Y, 2, callbacks=[fastnn.JSONLog(path)], **QUIET)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ['{"epoch": 1}', '{"epo']
    assert json.loads(lines[3])["loss"] is None
    other.write_text("a,b\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is another file"):
        network().fit(X, Y, 1, callbacks=[fastnn.CSVLog(other)], **QUIET)
    assert other.read_text(encoding="utf-8") == "a,b\n"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_that_is_killed_loses_no_finished_epoch(tmp_path):
    path = tmp_path / "run.jsonl"
    program = f"""
import os, numpy as np, fastnn
class Kill(fastnn.Callback):
    def on_epoch_begin(self, run):
        if run.epoch == 3:
            os.kill(os.getpid(), {signal.SIGKILL.value})
net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(1, "linear")], fastnn.SGD(0.1), seed=0)
told = [fastnn.JSONLog({str(path)!r}), Kill()]
net.fit(np.ones((9, 2)), np.ones(9), 9, verbose=False, callbacks=told)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    assert [json.loads(line)["epoch"] for line in path.read_text(encoding="utf-8").splitlines()] == [
        1,
        2,
        3,
    ]


@pytest.fixture
def shown(monkeypatch):
    """What a notebook is given to show, ``(how, what)``."""
    shown = []
    display = types.ModuleType("IPython.display")
    display.display = lambda figure, display_id: (shown.append(("display", figure)), handle)[1]
    handle = types.SimpleNamespace(update=lambda figure: shown.append(("update", figure)))
    ipython = types.ModuleType("IPython")
    ipython.display, ipython.version_info = display, (9, 0)  # which matplotlib looks at
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_live_curve_redraws_one_picture_in_a_notebook(request):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")  # before it meets an IPython that has no events
    plt.close("all")  # those of other tests
    shown = request.getfixturevalue("shown")
    history = network().fit(X, Y, 3, callbacks=[fastnn.LiveCurve(seconds=0)], **QUIET)
    assert [how for how, _ in shown] == ["display", "update", "update"]
    (curve,) = shown[-1][1].axes[0].lines
    np.testing.assert_array_equal(curve.get_ydata(), history.loss)
    assert not plt.get_fignums()
    shown.clear()
    network().fit(X, Y, 3, callbacks=[fastnn.LiveCurve(seconds=3600)], **QUIET)
    assert [how for how, _ in shown] == ["display", "update"]  # the first epoch and the end


def test_a_live_curve_elsewhere_is_a_file_or_nothing(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "curve.png"
    network().fit(X, Y, 2, callbacks=[fastnn.LiveCurve(), fastnn.LiveCurve(path)], **QUIET)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_a_live_curve_needs_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"fastnn-cpu\[plot\]"):
        fastnn.LiveCurve()


def on_screen(text):
    """The lines that a terminal shows, in which a carriage return goes back to a line's begin."""
    lines = []
    for line in text.split("\n"):
        cells = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return lines


def test_the_progress_bar_says_how_it_went_and_why_it_ended(capsys):
    stop = Recorder("epoch end", lambda run: run.stop("enough"), 2)
    history = network().fit(X, Y, 5, batch_size=20, validation_data=(X, Y), callbacks=[stop])
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith(f"epoch 2: training loss {history.loss[1]:.4f}, accuracy")
    assert f"validation loss {history.validation_loss[1]:.4f}" in out
    assert out.splitlines()[-1] == "stopped after 2 epochs: enough"
    assert "epoch 1/5" in err
    assert on_screen(err) == [""]


def test_one_progress_bar_counts_the_steps_of_a_whole_run(monkeypatch):
    import tqdm.auto

    bars = []

    class Bar(tqdm.auto.tqdm):
        def close(self):
            bars.append((self.desc, self.n, self.total))
            super().close()

    monkeypatch.setattr(tqdm.auto, "tqdm", Bar)
    network().fit(X, Y, 3, batch_size=20)
    assert bars[0] == ("epoch 3/3: ", 15, 15)
    bars.clear()
    stop = Recorder("batches end", lambda run: run.stop(), 7)
    network(Twice()).fit(X, Y, 3, batch_size=20, callbacks=[stop])
    assert bars[0] == ("epoch 2/3: ", 7, 7)  # short of its total it would be left on the screen, red


def test_a_progress_bar_of_ones_own_is_the_only_one(capsys):
    network().fit(X, Y, 2, batch_size=20, callbacks=[fastnn.ProgressBar()])
    assert [line[:8] for line in capsys.readouterr().out.splitlines()] == ["epoch 1:", "epoch 2:"]


def test_a_notebook_without_widgets_shows_lines_and_no_remains_of_bars(shown, capsys):
    network().fit(X, Y, 3, batch_size=20)
    out, err = capsys.readouterr()
    assert err == ""  # would be painted red
    assert [line[:8] for line in on_screen(out)] == ["epoch 1:", "epoch 2:", "epoch 3:", ""]


def test_model_checkpoint_keeps_the_best_epoch_or_each(tmp_path):
    pytest.importorskip("safetensors")
    figures = iter([3.0, 1.0, 2.0])
    saved = [
        fastnn.ModelCheckpoint(tmp_path / "best.safetensors", lambda net: next(figures)),
        fastnn.ModelCheckpoint(str(tmp_path / "{epoch}.safetensors"), "loss", save_best_only=False),
    ]
    net = network()
    net.fit(X, Y, 3, callbacks=saved, **QUIET)
    assert {path.name for path in tmp_path.iterdir()} == {
        "best.safetensors", "1.safetensors", "2.safetensors", "3.safetensors"
    }  # fmt: skip
    assert saved[0].best_epoch == 1
    best, second, last = (
        weights(fastnn.load(tmp_path / f"{name}.safetensors")) for name in ("best", "2", "3")
    )
    for one, other, final, now in zip(best, second, last, weights(net), strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(final, now)
