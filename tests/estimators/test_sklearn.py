"""``fastnn.sklearn`` against scikit-learn's own classes, its checks, and what is added to them."""

import pickle
import warnings

import numpy as np
import pytest
from joblib import Parallel, delayed
from scipy.sparse import csr_array
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification, make_multilabel_classification
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import fastnn
from fastnn import sklearn as ours

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # by SciPy 1.16 and later, of what scikit-learn 1.7 passes to it
    pytest.mark.filterwarnings(
        "ignore:scipy.optimize. The `disp` and `iprint` options:DeprecationWarning"
    ),
]
X, Y = make_classification(210, 12, n_informative=8, n_classes=3, random_state=0)
ONE = Y == 1
MANY = make_multilabel_classification(210, 12, random_state=0)[1]
REAL = np.c_[X[:, 0] * X[:, 1], X[:, 2]]
WEIGHTS = np.random.default_rng(0).uniform(0.1, 2, len(X))
SETTINGS = {
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "plain": {"solver": "sgd", "momentum": 0, "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "polyak": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1e-2, "n_iter_no_change": 2},
    "adam": {"solver": "adam"},
    "stopping": {"solver": "adam", "early_stopping": True, "n_iter_no_change": 3},
}


# A list: scikit-learn 1.7's `parametrize_with_checks` hands a generator to pytest, which 9 refuses.
CHECKS = [
    pytest.param(model, check, id=f"{type(model).__name__}-{check.func.__name__}")
    for kind in (ours.MLPClassifier, ours.MLPRegressor)
    for model, check in estimator_checks_generator(kind())
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS)
@pytest.mark.filterwarnings("ignore")
def test_conventions(estimator, check):
    check(estimator)


def pair(kind, **settings):
    common = {"hidden_layer_sizes": (20, 9), "max_iter": 12, "random_state": 3, "alpha": 0.3}
    return [getattr(m, kind)(**(common | {"batch_size": 40} | settings)) for m in (theirs, ours)]


def assert_alike(expected, model, rtol=1e-6):
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(expected, name), getattr(model, name), strict=True):
            np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-9)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(model, name) == getattr(expected, name)
    if hasattr(expected, "loss_curve_"):
        np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=2e-2)
        assert (model.validation_scores_ is None) == (expected.validation_scores_ is None)
        np.testing.assert_allclose(model.validation_scores_ or 0, expected.validation_scores_ or 0)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("targets", [Y, ONE, MANY], ids=["classes", "two", "labels"])
def test_classifiers_take_the_steps_of_scikit_learns(targets, settings):
    expected, model = (m.fit(X, targets) for m in pair("MLPClassifier", **SETTINGS[settings]))
    assert_alike(expected, model)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("targets", [REAL, REAL[:, 0]], ids=["two outputs", "one"])
def test_regressors_take_the_steps_of_scikit_learns(targets, settings):
    expected, model = (m.fit(X, targets) for m in pair("MLPRegressor", **SETTINGS[settings]))
    assert_alike(expected, model)
    np.testing.assert_allclose(model.predict(X), expected.predict(X), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weighted_rows_and_poisson(solver):
    settings = {"solver": solver, "max_iter": 4, "activation": "tanh"}
    for kind, y, more in (
        ("MLPClassifier", Y, {}),
        ("MLPClassifier", ONE, {}),
        ("MLPRegressor", np.abs(REAL), {"loss": "poisson"}),
    ):
        expected, model = (m.fit(X, y, WEIGHTS) for m in pair(kind, **settings, **more))
        assert_alike(expected, model)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_weights_may_be_negative_as_scikit_learns(solver):
    for weights in (-WEIGHTS, np.where(np.arange(len(X)) % 7 < 2, WEIGHTS, -1)):
        settings = {"solver": solver, "max_iter": 3, "activation": "tanh"}
        expected, model = (m.fit(X, Y, weights) for m in pair("MLPClassifier", **settings))
        assert_alike(expected, model)


@pytest.mark.parametrize("stopping", [False, True])
def test_weighted_rows_go_through_compiled_code(stopping, monkeypatch):
    monkeypatch.setattr(fastnn.NeuralNetwork, "train_by_layers", None)
    for kind, y in (("MLPClassifier", Y), ("MLPClassifier", MANY), ("MLPRegressor", REAL)):
        settings = {"max_iter": 4, "early_stopping": stopping, "batch_size": 33}
        expected, model = (m.fit(X, y, WEIGHTS) for m in pair(kind, **settings))
        assert_alike(expected, model)


def test_class_weights_are_weights_of_rows():
    weights = {0: 1.0, 1: 0.2, 2: 3.0}
    expected, model = pair("MLPClassifier", solver="sgd")
    expected.fit(X, Y, [weights[y] for y in Y])
    assert_alike(expected, model.set_params(class_weight=weights).fit(X, Y))


def test_partial_fit_goes_on_after_pickling():
    expected, model = pair("MLPClassifier")
    for i in range(5):
        expected.partial_fit(X, Y, classes=[0, 1, 2])
        model.partial_fit(X, Y, classes=[0, 1, 2])
        if i == 2:
            model = pickle.loads(pickle.dumps(model))
    assert_alike(expected, model)


def test_arrays_assigned_or_written_to_are_those_that_predict():
    model = pair("MLPRegressor")[1].fit(X, REAL)
    model.coefs_[-1][:] = 0
    np.testing.assert_allclose(model.predict(X), np.tile(model.intercepts_[-1], (len(X), 1)))
    model.intercepts_[-1] = np.array([2.0, 3.0])
    np.testing.assert_allclose(model.predict(X), np.tile([2.0, 3.0], (len(X), 1)))


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_single_precision_stays_single(solver):
    model = pair("MLPClassifier", solver=solver)[1].fit(X.astype(np.float32), Y)
    assert {a.dtype for a in (*model.coefs_, *model.intercepts_)} == {np.dtype(np.float32)}
    assert model.predict_proba(X.astype(np.float32)).dtype == np.float32


def test_sparse_rows_are_dense_ones():
    sparse = np.where(X > 0.5, X, 0)
    _, model = pair("MLPClassifier")
    dense = clone(model).fit(sparse, Y)
    assert_alike(dense, model.fit(csr_array(sparse), Y), rtol=1e-12)
    np.testing.assert_array_equal(model.predict_proba(csr_array(sparse)), dense.predict_proba(sparse))


def test_a_list_of_activations_is_one_a_layer():
    settings = {"hidden_layer_sizes": (8, 6), "max_iter": 3, "random_state": 0}
    model = ours.MLPRegressor(activation=["tanh", "relu"], **settings).fit(X, REAL)
    hidden = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    hidden = np.maximum(hidden @ model.coefs_[1] + model.intercepts_[1], 0)
    np.testing.assert_allclose(model.predict(X), hidden @ model.coefs_[2] + model.intercepts_[2])
    with pytest.raises(ValueError, match="activation must have 2 entries"):
        ours.MLPRegressor(activation=["tanh"], **settings).fit(X, REAL)


def test_early_stopping_by_a_scorer_ends_with_the_best_weights():
    settings = {"early_stopping": True, "n_iter_no_change": 4, "max_iter": 300, "tol": 0.0}
    model = ours.MLPClassifier(
        (30,), learning_rate_init=0.05, random_state=0, scoring="neg_log_loss", **settings
    ).fit(X, Y)
    losses = np.array(model.validation_loss_curve_)
    np.testing.assert_allclose(-losses, model.validation_scores_, rtol=1e-6)
    assert len(losses) == model.n_iter_ == np.argmin(losses) + 1 + 5
    assert model.best_validation_score_ == max(model.validation_scores_)
    np.testing.assert_array_equal(model.coefs_[0], model._best_coefs[0])


class Told(fastnn.Callback):
    """Notes what it is told, and ends the run in an epoch, at its end or amid it."""

    def __init__(self, last=99, amid=99):
        self.last, self.amid, self.noted = last, amid, []

    def on_train_begin(self, run):
        self.noted.append("begin")

    def on_batches_end(self, run, losses, errors):
        self.noted.append(len(losses))
        if run.epoch == self.amid:
            run.stop()

    def on_epoch_end(self, run):
        self.noted.append(run.figures)
        if run.epoch == self.last:
            run.stop()

    def on_train_end(self, run):
        self.noted.append("end")


@pytest.mark.parametrize("stopping", [False, True])
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_callbacks_hear_of_every_epoch_and_end_the_fit(kind, stopping):
    told, weights = Told(last=2), WEIGHTS if stopping else None
    model = pair(kind, early_stopping=stopping)[1].set_params(callbacks=[told])
    model.fit(X, Y if kind == "MLPClassifier" else REAL, weights)
    epochs = [entry for entry in told.noted if isinstance(entry, dict)]
    assert (told.noted[0], told.noted[-1], len(epochs)) == ("begin", "end", model.n_iter_ == 3 and 3)
    assert [epoch["loss"] for epoch in epochs] == model.loss_curve_
    steps = -(-(len(X) - stopping * 21) // 40)
    assert sum(entry for entry in told.noted if isinstance(entry, int)) == 3 * steps
    found = [epoch["validation_loss"] for epoch in epochs] if stopping else None
    assert found == model.validation_loss_curve_
    assert all(np.isfinite(list(epoch.values())).all() for epoch in epochs)


def test_an_epoch_a_callback_breaks_off_does_not_count():
    model = pair("MLPRegressor", batch_size=1)[1].set_params(callbacks=[Told(amid=2)])
    assert (
        model.fit(X, REAL).n_iter_ == len(model.loss_curve_) in (2, 3)
    )  # 3 if the stretch was the epoch's last


@pytest.mark.parametrize("seed", [0, None, np.random.RandomState(np.random.Philox(1))])
def test_a_model_checkpoint_keeps_an_estimators_network(seed, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "best.safetensors"
    keeper = fastnn.ModelCheckpoint(path, "loss", save_best_only=False)
    model = pair("MLPClassifier", random_state=seed)[1].set_params(callbacks=[keeper]).fit(X, Y)
    net = fastnn.load(path)
    np.testing.assert_array_equal(net.predict(X), model.predict_proba(X))
    assert np.isfinite(net.train_step(X, model._label_binarizer.transform(Y)))


def test_callbacks_are_cloned_shown_and_checked(capsys):
    bar = fastnn.callbacks.ProgressBar()
    stopping = fastnn.EarlyStopping("loss", patience=1, min_delta=1e9)
    model = pair("MLPClassifier")[1].set_params(callbacks=[bar, stopping]).fit(X, Y)
    assert model.n_iter_ == 2
    assert "stopped after 2 epochs" in capsys.readouterr().out
    other = pickle.loads(pickle.dumps(clone(model)))
    assert type(other.callbacks[0]) is type(bar)
    assert other.callbacks[1] is not stopping
    with pytest.raises(TypeError, match=r"callbacks\[0\] must be a Callback"):
        model.set_params(callbacks=["bar"]).fit(X, Y)
    model.set_params(callbacks=(told := Told(),)).partial_fit(X, Y)
    epochs = [entry for entry in told.noted if isinstance(entry, dict)]
    assert (told.noted[0], told.noted[-1], len(epochs)) == ("begin", "end", 1)


def test_pipelines_searches_and_clones():
    model = ours.MLPClassifier((16,), learning_rate_init=0.02, max_iter=30, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model), {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3
    ).fit(X, Y)
    assert search.best_score_ > 0.6
    assert clone(model).get_params() == model.get_params()


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(backend):
    models = [ours.MLPClassifier((16,), max_iter=3, random_state=i) for i in range(4)]
    fitted = Parallel(2, backend=backend)(delayed(m.fit)(X, Y) for m in map(clone, models))
    for model, other in zip(models, fitted, strict=True):
        np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), other.predict_proba(X))


def test_one_model_answers_several_threads():
    digits, labels = load_digits(return_X_y=True)
    model = ours.MLPClassifier((64,), max_iter=3, random_state=0).fit(digits, labels)
    parts = [digits[i : i + 500] for i in range(0, 1200, 100)]
    expected = [model.predict_proba(part) for part in parts]
    found = Parallel(4, backend="threading")(delayed(model.predict_proba)(part) for part in parts)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_epoch_too_few_warns_and_stops_print(capsys):
    _, model = pair("MLPClassifier", max_iter=1, verbose=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, Y)
    assert "Maximum iterations (1) reached" in str(caught[0].message)
    assert "Iteration 1, loss = " in capsys.readouterr().out
