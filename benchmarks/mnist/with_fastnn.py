"""MNIST with fastnn."""

import race

import fastnn

options = race.options()
X, labels, X_test, labels_test = race.load(options.folder, options.threads)
net = fastnn.NeuralNetwork(
    loss="cross_entropy",
    layer_args=[
        {"name": "fully_connected", "n_out": race.WIDTHS[1], "activation": "relu"},
        {"name": "fully_connected", "n_out": race.WIDTHS[2], "activation": "relu"},
        {"name": "fully_connected", "n_out": race.WIDTHS[3], "activation": "softmax"},
    ],
    optimizer_args={"name": "SGD", "lr": race.LR, "momentum": race.MOMENTUM},
    seed=options.seed,
    dtype="float32",
)
race.run(
    options,
    epoch=lambda: net.fit(X, labels, epochs=1, batch_size=race.BATCH, verbose=False),
    accuracy=lambda: 1 - net.evaluate(X_test, labels_test)[1],
)
