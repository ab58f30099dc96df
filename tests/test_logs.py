import json
import pickle

import numpy as np
import pytest

import fastnn


def trained(tmp_path, **options):
    logger = fastnn.Logger("run", {"lr": 1}, {"name": "x"}, save_dir=f"{tmp_path}/", **options)
    layers = [fastnn.FullyConnected(4, "relu"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD"}, logger=logger, seed=0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 5)), np.arange(30) % 3
    data = fastnn.Dataset.from_arrays(X, y, batch_size=8)
    return net, logger, data, net.train(data, 2)


def test_a_logger_keeps_rounded_curves_and_the_parameters_extremes(tmp_path):
    net, logger, _, history = trained(tmp_path)
    assert logger.log["loss"]["train"] == [round(loss, 4) for loss in history.loss]
    assert logger.log["error"]["validate"] == [round(e, 4) for e in history.validation_error]
    W = net.layers[0].parameters["W"]
    assert logger.log["params"]["W0"]["max"][-1] == W.max()
    assert logger.log["params"]["W0"]["min"][-1] == W.min()
    assert list(tmp_path.iterdir()) == []  # nothing is written unless saving was asked for
    logger.reset()
    assert logger.log == {}


def test_saving_writes_the_log_and_the_arguments(tmp_path):
    net, logger, data, _ = trained(tmp_path, save=True)
    folder = tmp_path / "run"
    assert pickle.loads((folder / "log").read_bytes()) == logger.log
    assert pickle.loads((folder / "model_args").read_bytes()) == {"lr": 1}
    net.save_parameters(7)
    saved = pickle.loads((folder / "parameters_epoch7").read_bytes())
    np.testing.assert_array_equal(saved[1]["b"], net.layers[1].parameters["b"])
    log = net.test(data, save_predictions=True)
    assert len(log["prediction"]) == data.test.n_samples
    table = net.test_kaggle(data)
    lines = (folder / "kaggle_predictions.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "Id,Category"
    assert lines[1] == f"0,{table['Category'][0]}"


def test_what_needs_a_logger_says_so():
    layers = [fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD"})
    with pytest.raises(ValueError, match=r"save_parameters needs a logger"):
        net.save_parameters(0)


def test_a_history_is_written_as_json(tmp_path):
    history = fastnn.History([1.0], [0.5], [1.5], [0.75])
    history.to_json(tmp_path / "h.json")
    assert json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))["validation_loss"] == [1.5]


def test_a_history_says_in_a_line_what_the_last_epoch_came_to():
    history = fastnn.History([1.0, 0.123456], [0.5, 0.25])
    assert repr(history) == "<History of 2 epochs, loss=0.1235, error=0.25>"
    assert repr(fastnn.History()) == "<History of 0 epochs>"


@pytest.mark.parametrize("epochs", [1, 2])
def test_ticks_are_at_whole_epochs(epochs):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    figure = fastnn.History([1.0] * epochs, [0.5] * epochs).plot()
    figure.canvas.draw()
    assert all(tick == round(tick) for tick in figure.axes[0].get_xticks())
    plt.close(figure)


@pytest.mark.parametrize(("backend", "kept"), [("inline", 0), ("agg", 1)])
def test_a_notebook_shows_a_drawn_history_once(backend, kept, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    plt.close("all")
    monkeypatch.setattr(plt, "get_backend", lambda: backend)
    figure = fastnn.History([1.0], [0.5]).plot()
    assert len(plt.get_fignums()) == kept
    plt.close(figure)
