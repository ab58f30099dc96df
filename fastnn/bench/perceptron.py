"""scikit-learn's ``MLPClassifier``: a training step is a ``partial_fit`` of one batch."""

import numpy as np
from sklearn import set_config
from sklearn.neural_network import MLPClassifier

from fastnn._typing import Array
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.networks import LR, TrainingStep


class SklearnMLP(Contestant):
    """Plain SGD as the cases want it: no penalty, no shuffling; inputs taken unchecked."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        set_config(assume_finite=True, skip_parameter_validation=True)

    def call(self, case: Case) -> Call | None:
        if not isinstance(case, TrainingStep):
            return None
        if case.loss != "cross_entropy" or case.optimizer != "SGD":
            return None
        network = MLPClassifier(
            case.widths[1:-1], case.hidden, solver="sgd", alpha=0, batch_size=case.n,
            learning_rate_init=LR, momentum=case.momentum, nesterovs_momentum=False, shuffle=False,
        )  # fmt: skip
        X, labels = case.batch()
        classes = np.arange(case.widths[-1])
        network.partial_fit(X, labels, classes=classes)  # makes its arrays, which are then set
        parameters = [a for pair in zip(network.coefs_, network.intercepts_, strict=True) for a in pair]
        for own, given in zip(parameters, case.parameters(), strict=True):
            own[...] = given
        for velocity in network._optimizer.velocities:
            velocity[...] = 0

        def step() -> tuple[float, list[Array]]:
            network.partial_fit(X, labels)
            return network.loss_, parameters

        return step
