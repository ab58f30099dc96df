"""What objects look like at the prompt and in a notebook."""

import copy
import pickle
from html.parser import HTMLParser

import numpy as np
import pytest

import fastnn
from fastnn import activations, losses, schedulers, weights

CALLS = [
    "ReLU()",
    "LeakyReLU(negative_slope=0.2)",
    "CrossEntropy()",
    "CrossEntropy(label_smoothing=0.1, class_weight=[1.0, 2.5])",
    "Exponential(lr=0.1, decay=0.5, stage_length=3.0, staircase=True)",
    "SGD(lr=0.1, momentum=0.9)",
    "Adam(lr=0.002, lr_scheduler=Exponential(lr=0.002, stage_length=4.0), clip_norm=1.0)",
    "FullyConnected(n_out=4, activation=TanH())",
    "FullyConnected(n_out=None, activation=ELU(alpha=0.5), weight_init=HeNormal(activation='relu'))",
    "Preset(weights=[[1.0, 2.0]])",
    "EarlyStopping(monitor='loss', patience=3, restore_best=False)",
    "CSVLog(path='run.csv')",
    "NeuralNetwork(loss=L2(), layer_args=[FullyConnected(n_out=2, activation=TanH()), "
    "FullyConnected(n_out=1, activation=Linear())], optimizer_args=SGD(), seed=3, dtype='float32')",
]


@pytest.mark.parametrize("call", CALLS)
def test_the_repr_is_the_call(call):
    assert repr(eval(call, vars(fastnn).copy())) == call


def test_named_parts_are_shown_as_the_objects_they_become():
    layer = {"name": "fully_connected", "n_out": 3, "activation": "relu", "weight_init": "he_normal"}
    optimizer = {"name": "SGD", "lr": 0.5, "lr_scheduler": "exponential", "stage_length": 2}
    net = fastnn.NeuralNetwork("l2", [layer], optimizer, seed=1)
    assert "weight_init=HeNormal(activation='relu')" in repr(net)
    assert "SGD(lr=0.5, lr_scheduler=Exponential(lr=0.5, stage_length=2.0))" in repr(net)
    again = eval(repr(net), vars(fastnn).copy())
    X = np.random.default_rng(0).normal(size=(6, 4))
    for one in (net, again):
        one.fit(X, np.eye(3)[[0, 1, 2, 0, 1, 2]], 3, verbose=False)
    np.testing.assert_array_equal(net.predict(X), again.predict(X))


def test_every_named_part_has_a_repr_that_makes_it_again():
    made = [
        *(fastnn.initialize_activation(name) for name in activations.ACTIVATIONS),
        *(fastnn.initialize_loss(name) for name in losses.LOSSES),
    ]
    for part in made:
        assert type(eval(repr(part), vars(fastnn).copy())) is type(part)
    for name in weights.INITIALIZERS:
        init = fastnn.initialize_weights(name, activation="relu")
        assert type(eval(repr(init), vars(weights).copy())) is type(init)
    assert repr(fastnn.initialize_scheduler("constant", 0.5)) == "Constant(lr=0.5)"
    assert type(eval("Constant(lr=0.5)", vars(schedulers).copy())) is schedulers.Constant


def test_what_cannot_be_shown_is_left_open():
    class Own(fastnn.Activation):
        def __init__(self, secret, *more, **options):
            pass

        def forward(self, Z):
            return Z

        backward = forward

    assert repr(Own(3)) == "Own(secret=...)"
    assert repr(fastnn.Preset(np.ones((30, 30)))) == "Preset(weights=...)"
    net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(1, "linear")], fastnn.SGD())
    net.logger = fastnn.Logger("name", None, None)
    assert repr(net).endswith("optimizer_args=SGD(), logger=...)")


class Cells(HTMLParser):
    """The texts of a table's cells, and every tag."""

    def __init__(self, html):
        super().__init__()
        self.cells, self.tags, self._open = [], set(), False
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self._open = tag in ("td", "th")
        if self._open:
            self.cells.append("")

    def handle_endtag(self, tag):
        self._open = False

    def handle_data(self, data):
        if self._open:
            self.cells[-1] += data


def test_a_summary_is_text_at_the_prompt_and_a_table_in_a_notebook():
    layers = [fastnn.FullyConnected(1000, "relu"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.Adam(), seed=0)
    assert "\nparameters are drawn with the first batch, dtype of the data;" in net.summary()
    net.train_step(np.ones((2, 4)), [0, 1])
    summary = net.summary()
    assert repr(summary) == summary  # lines, no \n
    assert "Adam()" in summary
    for other in (copy.copy(summary), pickle.loads(pickle.dumps(summary))):
        assert other._repr_html_() == summary._repr_html_() == net._repr_html_()
    table = Cells(net._repr_html_())
    assert table.cells[:5] == ["layer", "activation", "in", "out", "parameters"]
    first, second = table.cells[5:10], table.cells[10:]
    assert first == ["0 FullyConnected", "ReLU", "4", "1000", "5,000"]
    assert second == ["1 FullyConnected", "SoftMax", "1000", "3", "3,003"]


def test_a_notebook_shows_names_and_runs_none_of_them():
    evil = type("<script>alert(1)</script>", (fastnn.ReLU,), {})
    loss = fastnn.L2("<img src=x>")
    net = fastnn.NeuralNetwork(loss, [fastnn.FullyConnected(3, evil())], fastnn.SGD())
    table = Cells(net._repr_html_())
    assert table.tags == {"table", "thead", "tbody", "tr", "th", "td", "p", "br"}
    assert "<script>alert(1)</script>" in table.cells
