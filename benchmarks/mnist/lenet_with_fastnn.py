"""LeNet-5 on MNIST with fastnn."""

import race

import fastnn

options = race.options()
X, labels, X_test, labels_test = race.load(options.folder, options.threads)
X, X_test = (images.reshape(-1, 28, 28, 1) for images in (X, X_test))


def relu(inputs):
    """Return arguments for relu and weights that keep the variance, for ``inputs`` per output."""
    return {"activation": "relu", "weight_init": fastnn.weights.Normal(0, (2 / inputs) ** 0.5)}


def epoch():
    net.fit(X, labels, epochs=1, batch_size=race.BATCH, verbose=False)
    net.optimizer.lr *= race.LENET_DECAY


net = fastnn.NeuralNetwork(
    loss="cross_entropy",
    layer_args=[
        {"name": "conv2d", "n_out": 6, "kernel_shape": (5, 5), "pad": "same", **relu(25)},
        {"name": "pool2d", "kernel_shape": (2, 2), "mode": "max", "stride": 2},
        {"name": "conv2d", "n_out": 16, "kernel_shape": (5, 5), "pad": "valid", **relu(150)},
        {"name": "pool2d", "kernel_shape": (2, 2), "mode": "max", "stride": 2},
        {"name": "flatten"},
        {"name": "fully_connected", "n_out": 120, "activation": "relu"},
        {"name": "fully_connected", "n_out": 84, "activation": "relu"},
        {"name": "fully_connected", "n_out": 10, "activation": "softmax"},
    ],
    optimizer_args={"name": "SGD", "lr": race.LENET_LR, "momentum": race.MOMENTUM},
    seed=options.seed,
    dtype="float32",
)
race.run(options, epoch, accuracy=lambda: 1 - net.evaluate(X_test, labels_test)[1])
