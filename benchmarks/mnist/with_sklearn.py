"""MNIST with scikit-learn: ``partial_fit`` on all rows is one shuffled epoch."""

import numpy as np
import race
from sklearn.neural_network import MLPClassifier

options = race.options()
X, labels, X_test, labels_test = race.load(options.folder, options.threads)
net = MLPClassifier(
    race.WIDTHS[1:-1],
    solver="sgd",
    alpha=0,
    batch_size=race.BATCH,
    learning_rate_init=race.LR,
    momentum=race.MOMENTUM,
    nesterovs_momentum=False,
    random_state=options.seed,
)
race.run(
    options,
    epoch=lambda: net.partial_fit(X, labels, classes=np.arange(race.WIDTHS[-1])),
    accuracy=lambda: net.score(X_test, labels_test),
)
