"""``fastnn.sklearn`` with rare classes, replaced arrays, sparse rows, and in forked processes."""

import doctest
import os
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, make_scorer
from sklearn.utils.class_weight import compute_sample_weight

import fastnn
from fastnn import sklearn as ours
from fastnn.sklearn import estimators, rows

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = make_classification(210, 12, n_informative=8, n_classes=3, random_state=0)
NAMES = np.array(["ant", "bee", "cat"])[Y]
MANY = make_multilabel_classification(210, 12, random_state=0)[1]
REAL = np.c_[X[:, 0] * X[:, 1], X[:, 2]]
WEIGHTS = np.random.default_rng(0).uniform(0.1, 2, len(X))
RARE = np.repeat(["ant", "bee", "cat"], [120, 88, 2])
FEW = {"max_iter": 4, "random_state": 0}


def classifier(**settings):
    return ours.MLPClassifier(**({"hidden_layer_sizes": (8, 6)} | FEW | settings))


def regressor(**settings):
    return ours.MLPRegressor(**({"hidden_layer_sizes": (8, 6)} | FEW | settings))


def assert_same(a, b, rtol=1e-7):
    for x, y in zip((*a.coefs_, *a.intercepts_), (*b.coefs_, *b.intercepts_), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol / 100)
    # the penalty in it depends on how many steps were done at once
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_the_examples_of_the_docstrings_run(kind):
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    (example,) = finder.find(getattr(estimators, kind), kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = runner.run(example)
    assert (result.failed, result.attempted > 3) == (0, True)


# Classes that are rare.


def test_class_weights_hold_for_batches_that_lack_a_class():
    weights = {"ant": 1.0, "bee": 0.2, "cat": 3.0}
    model, expected = classifier(class_weight=weights), classifier()
    for part in (NAMES == "ant", NAMES != "bee", NAMES != "ant"):
        model.partial_fit(X[part], NAMES[part], classes=[*weights])
        expected.partial_fit(
            X[part], NAMES[part], [weights[name] for name in NAMES[part]], classes=[*weights]
        )
    assert_same(expected, model, 1e-12)


@pytest.mark.parametrize("targets", [NAMES, NAMES == "ant", MANY], ids=["classes", "two", "labels"])
def test_balanced_weights_are_by_all_rows_so_far(targets):
    model, expected = classifier(class_weight="balanced"), classifier()
    classes, first = np.unique(targets) if targets.ndim == 1 else range(5), slice(100)
    if targets is NAMES:
        first = targets != "bee"
    so_far = compute_sample_weight("balanced", targets[first])
    model.partial_fit(X[first], targets[first], classes=classes)
    expected.partial_fit(X[first], targets[first], so_far, classes=classes)
    assert_same(expected, model, 1e-9)
    together = np.concatenate([targets[first], targets])
    model.partial_fit(X, targets)
    expected.partial_fit(X, targets, compute_sample_weight("balanced", together)[-len(targets) :])
    assert_same(expected, model, 1e-9)
    expected.fit(X, targets, compute_sample_weight("balanced", targets))
    assert_same(expected, model.fit(X, targets), 1e-9)


@pytest.mark.parametrize(
    ("weights", "targets", "message"),
    [
        ({0: 1.0, 1: -1.0, 2: 1.0}, Y, "finite and not negative"),
        ({0: 1.0, 1: np.nan, 2: 1.0}, Y, "finite and not negative"),
        ({0: 1.0, 7: 2.0}, Y, r"The classes, \[1, 2\], are not in class_weight"),
        ({0: 1.0, 1: 2.0}, MANY, "'balanced' or None for rows of several labels"),
    ],
)
def test_class_weights_that_cannot_be(weights, targets, message):
    with pytest.raises(ValueError, match=message):
        classifier(class_weight=weights).fit(X, targets)


SCORINGS = ["neg_log_loss", "roc_auc_ovr", "roc_auc_ovr_weighted", "roc_auc_ovo", "top_k_accuracy"]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_scores_of_rows_that_lack_a_class(scoring, weighted):
    weighted = weighted and scoring != "roc_auc_ovo"  # which takes none
    for seed in (0, 1):
        model = classifier(early_stopping=True, scoring=scoring, random_state=seed)
        model.fit(X, RARE, WEIGHTS if weighted else None)
        assert len(model.validation_scores_) == model.n_iter_
        assert np.isfinite(model.validation_scores_).all()


def test_a_score_over_probabilities_is_told_the_classes():
    scorer = make_scorer(log_loss, response_method="predict_proba", greater_is_better=False)
    settings = {"early_stopping": True, "max_iter": 6}
    model = classifier(scoring=scorer, **settings).fit(X, RARE)
    named = classifier(scoring="neg_log_loss", **settings).fit(X, RARE)
    assert model.validation_scores_ == named.validation_scores_
    np.testing.assert_allclose(model.validation_scores_, -np.array(model.validation_loss_curve_))


def test_roc_auc_ovr_is_that_of_scikit_learn_where_all_classes_are_there():
    def same(model, features, labels):
        return roc_auc_score(labels, model.predict_proba(features), multi_class="ovr")

    from sklearn.metrics import roc_auc_score

    a, b = (classifier(early_stopping=True, scoring=s).fit(X, NAMES) for s in ("roc_auc_ovr", same))
    assert a.validation_scores_ == b.validation_scores_


def test_a_score_that_is_not_defined_is_refused_before_training():
    two = np.repeat(["no", "yes"], [207, 3])
    model = classifier(early_stopping=True, scoring="roc_auc", warm_start=True)
    with pytest.raises(ValueError, match=r"roc_auc.*not defined.*lack the classes \['yes'\]"):
        model.fit(X, two)
    assert model.loss_curve_ == []


def test_a_class_of_one_row_is_named_where_it_cannot_be_split():
    with pytest.raises(ValueError, match="class yes has only one row: add rows"):
        classifier(early_stopping=True).fit(X, np.repeat(["no", "yes"], [209, 1]))


def test_a_scorer_without_sample_weight_is_called_without():
    settings = {"early_stopping": True, "scoring": lambda model, X, y: float(len(y))}
    assert set(classifier(**settings).fit(X, Y, WEIGHTS).validation_scores_) == {21.0}


# What is restored, and where a fit goes on from another.


class Kept(fastnn.Callback):
    def on_train_begin(self, run):
        self.epochs = []

    def on_epoch_end(self, run):
        self.epochs.append([layer.parameters["W"].copy() for layer in run.net.layers])


def test_what_a_callback_restores_stays():
    kept, stopping = Kept(), fastnn.EarlyStopping("loss", patience=50)
    settings = {"early_stopping": True, "max_iter": 8, "n_iter_no_change": 20}
    worse = {"scoring": lambda model, X, y: -float(model.n_iter_)}  # the first epoch is its best
    model = classifier(callbacks=[kept], **settings, **worse).fit(X, Y)
    for W, first in zip(model.coefs_, kept.epochs[0], strict=True):
        np.testing.assert_array_equal(W, first)
    model = classifier(callbacks=[kept, stopping], **settings, **worse).fit(X, Y)
    assert stopping.best_epoch == 7
    for W, last in zip(model.coefs_, kept.epochs[7], strict=True):
        np.testing.assert_array_equal(W, last)
    assert model.best_validation_score_ == -1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"early_stopping": True}),
        ({"early_stopping": True}, {}),
        ({"solver": "lbfgs"}, {}),
        ({"solver": "lbfgs"}, {"early_stopping": True}),
        ({}, {"solver": "lbfgs"}),
    ],
)
def test_warm_starts_with_another_solver_or_way_to_stop(before, after):
    model = classifier(warm_start=True, **before).fit(X, Y)
    model.set_params(solver="adam", early_stopping=False).set_params(**after).fit(X, Y)
    assert all(np.isfinite(W).all() for W in model.coefs_)
    if "early_stopping" in after:
        assert len(model.validation_scores_) == len(model.validation_loss_curve_) == 4
    elif not after:
        assert model.validation_scores_ is model.validation_loss_curve_ is None


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_other_layers_are_not_gone_on_with(solver):
    model = classifier(warm_start=True, solver=solver).fit(X, Y)
    before = [W.copy() for W in model.coefs_]
    with pytest.raises(ValueError, match=r"layers of \[12, 8, 6, 3\] units.*needs \[12, 8, 1, 3\]"):
        model.set_params(hidden_layer_sizes=(8, 1)).fit(X, Y)
    for a, b in zip(before, model.coefs_, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("outputs", [1, 3])
def test_other_outputs_are_not_gone_on_with(outputs):
    model = regressor().fit(X, REAL)
    with pytest.raises(ValueError, match=rf"\[12, 8, 6, 2\] units.*needs \[12, 8, 6, {outputs}\]"):
        model.partial_fit(X, X[:, :outputs].squeeze())
    assert model.predict(X).shape == model.partial_fit(X, REAL).predict(X).shape == (210, 2)


def test_an_activation_set_later_is_the_one_that_predicts():
    model = regressor().fit(X, REAL).set_params(activation="identity")
    expected = X
    for W, b in zip(model.coefs_, model.intercepts_, strict=True):
        expected = expected @ W + b
    np.testing.assert_allclose(model.predict(X), expected)


def test_scores_that_are_nan_are_no_improvement():
    settings = {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 50}
    model = classifier(scoring=lambda model, X, y: float("nan"), **settings)
    with pytest.warns(ConvergenceWarning, match="No epoch's validation score is a finite number"):
        model.fit(X, Y)
    assert model.n_iter_ == 4


# Arrays that were replaced.

REPLACED = [
    ("coefs_", 0, np.ones((13, 8)), r"coefs_\[0\] has shape \(13, 8\).*n_features_in_=12"),
    ("coefs_", 1, np.ones((30_000, 6)), r"coefs_\[1\] must have shape \(8, outputs\)"),
    ("coefs_", 1, np.ones((8, 7)), r"intercepts_\[1\] must have shape \(7,\)"),
    ("coefs_", 2, np.ones(6), r"coefs_\[2\] must have shape \(6, outputs\)"),
    ("intercepts_", 0, np.ones(3), r"intercepts_\[0\] must have shape \(8,\)"),
    ("intercepts_", 2, np.ones((1, 2)), r"intercepts_\[2\] must have shape \(2,\)"),
    ("intercepts_", 1, np.array(["x"] * 6), r"intercepts_\[1\] must hold real numbers"),
]


@pytest.mark.parametrize("use", ["predict", "partial_fit", "warm start", "lbfgs", "pickle"])
@pytest.mark.parametrize(("name", "index", "array", "message"), REPLACED)
def test_an_array_that_does_not_fit_is_named(name, index, array, message, use):
    model = regressor(warm_start=True).fit(X, REAL)
    model.predict(X)
    getattr(model, name)[index] = array
    calls = {
        "predict": lambda: model.predict(X),
        "partial_fit": lambda: model.partial_fit(X, REAL),
        "warm start": lambda: model.fit(X, REAL),
        "lbfgs": lambda: model.set_params(solver="lbfgs").fit(X, REAL),
        "pickle": lambda: pickle.loads(pickle.dumps(model)),
    }
    with pytest.raises((ValueError, TypeError), match=message):
        calls[use]()


def test_all_arrays_replaced_by_ones_of_other_widths():
    model = regressor().fit(X, REAL)
    model.coefs_ = [np.ones((12, 3)), np.ones((3, 5)), np.ones((5, 2))]
    model.intercepts_ = [np.ones(3), np.ones(5), np.ones(2)]
    assert model.predict(X).shape == (210, 2)
    model.coefs_.pop()
    with pytest.raises(ValueError, match="coefs_ must hold 3 arrays, one a layer; it holds 2"):
        model.predict(X)
    model.coefs_.append(np.ones((5, 4)))
    model.intercepts_[2] = np.ones(4)
    with pytest.raises(ValueError, match=r"coefs_\[2\] has shape \(5, 4\).*n_outputs_=2"):
        model.predict(X)


# Sparse rows.

SPARSE = scipy.sparse.csr_array(np.where(X > 0.5, X, 0))
THIN = scipy.sparse.csr_array(np.where(X > 2.5, X, 0))
SPARSE_CASES = {
    "adam": (classifier, NAMES, {}),
    "weights": (classifier, NAMES, {"class_weight": "balanced"}),
    "labels": (classifier, MANY, {}),
    "sgd": (classifier, Y, {"solver": "sgd", "shuffle": False}),
    "stopping": (classifier, NAMES, {"early_stopping": True, "scoring": "neg_log_loss"}),
    "lbfgs": (classifier, NAMES, {"solver": "lbfgs"}),
    "outputs": (regressor, REAL, {"batch_size": 33}),
    "poisson": (regressor, np.abs(REAL), {"loss": "poisson"}),
    "no hidden layer": (classifier, NAMES, {"hidden_layer_sizes": ()}),
}


@pytest.mark.parametrize("sparse", [SPARSE, THIN], ids=["sparse", "thin"])
@pytest.mark.parametrize("case", SPARSE_CASES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weighted"])
def test_sparse_rows_are_dense_ones(case, sparse, weights, monkeypatch):
    monkeypatch.setattr(rows, "_DENSE_BYTES", 40 * 12 * 8)  # 40 rows
    monkeypatch.setattr(rows, "_THIN_SHARE", 0.2)
    assert rows.is_thin(THIN)
    assert not rows.is_thin(SPARSE)
    make, targets, settings = SPARSE_CASES[case]
    dense = make(**({"batch_size": 16} | settings)).fit(sparse.toarray(), targets, weights)
    for form in (sparse, sparse.tocsc(), sparse.tocoo(), scipy.sparse.csr_matrix(sparse)):
        model = clone(dense).fit(form, targets, weights)
        if case == "lbfgs":
            np.testing.assert_allclose(model.loss_, dense.loss_, rtol=1e-7)
        else:
            assert_same(dense, model, 1e-8)
            np.testing.assert_allclose(model.validation_scores_ or 0, dense.validation_scores_ or 0)
        expected, found = dense.predict(sparse.toarray()), model.predict(form)
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, expected, rtol=1e-6)
        else:
            np.testing.assert_array_equal(found, expected)
    if case not in ("lbfgs", "stopping"):
        expected = dense.partial_fit(sparse.toarray(), targets)
        assert_same(expected, model.partial_fit(sparse, targets), 1e-8)


@pytest.mark.parametrize("sparse", [SPARSE, THIN], ids=["sparse", "thin"])
def test_sparse_rows_in_single_precision(sparse, monkeypatch):
    monkeypatch.setattr(rows, "_DENSE_BYTES", 40 * 12 * 4)
    monkeypatch.setattr(rows, "_THIN_SHARE", 0.2)
    model = classifier().fit(sparse.astype(np.float32), NAMES)
    assert {W.dtype for W in model.coefs_} == {np.dtype(np.float32)}
    assert model.predict_proba(sparse.astype(np.float32)).dtype == np.float32


def test_sparse_rows_are_not_made_dense_as_a_whole():
    code = """if True:
        import resource, warnings
        import numpy as np, scipy.sparse
        from fastnn.sklearn import MLPClassifier
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))  # dense it is 28 GB
        warnings.simplefilter("ignore")
        rng, n = np.random.default_rng(0), 60_000
        columns = np.sort(rng.integers(0, n, (n, 3)), axis=1).ravel()
        X = scipy.sparse.csr_matrix((np.ones(3 * n), columns, np.arange(0, 3 * n + 1, 3)), (n, n))
        y = rng.integers(0, 2, n)
        model = MLPClassifier((2,), max_iter=1, batch_size=6000, early_stopping=True).fit(X, y)
        print(model.predict_proba(X).shape, model.score(X, y) <= 1)
    """
    pytest.importorskip("resource")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["(60000,", "2)", "True"], done.stderr


# Input as people have it.


def test_frames_and_their_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(12)])
    for settings in ({}, {"early_stopping": True, "scoring": "neg_log_loss"}, {"solver": "lbfgs"}):
        model = classifier(**settings).fit(frame, pd.Series(NAMES))
        assert model.feature_names_in_.tolist() == [*frame.columns]
        np.testing.assert_array_equal(
            model.predict(frame), classifier(**settings).fit(X, NAMES).predict(X)
        )
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"c0": "other"}))


@pytest.mark.parametrize("kind", [classifier, regressor])
def test_nan_is_refused(kind):
    bad = X.copy()
    bad[3, 2] = np.nan
    targets = Y if kind is classifier else X[:, 0]
    with pytest.raises(ValueError, match="Input X contains NaN"):
        kind().fit(bad, targets)
    model = kind().fit(X, targets)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(bad)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.partial_fit(scipy.sparse.csr_array(bad), targets)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_epsilon_and_max_fun_mean_what_they_do_in_scikit_learn(solver):
    settings = {"solver": solver, "hidden_layer_sizes": (8,), "random_state": 0, "max_iter": 9}
    settings |= {"epsilon": 1e-2, "max_fun": 5, "n_iter_no_change": 2, "tol": 1e-2}
    a, b = (m.MLPClassifier(**settings).fit(X, Y) for m in (theirs, ours))
    assert a.n_iter_ == b.n_iter_
    for expected, W in zip(a.coefs_, b.coefs_, strict=True):
        np.testing.assert_allclose(W, expected, rtol=1e-6, atol=1e-9)


# Processes and threads.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_while_threads_predict_predicts():
    code = """if True:
        import faulthandler, os, threading, warnings
        import numpy as np
        from fastnn.sklearn import MLPClassifier
        warnings.simplefilter("ignore")
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(3000, 100)), rng.integers(0, 3, 3000)
        model = MLPClassifier((64,), max_iter=1, random_state=0).fit(X, y)
        expected, done, under_way = model.predict_proba(X), threading.Event(), threading.Semaphore(0)

        def ask():
            while not done.is_set():
                under_way.release()
                model.predict_proba(X)

        asking = [threading.Thread(target=ask) for _ in range(2)]
        for thread in asking:
            thread.start()
        for _ in range(12):
            under_way.acquire()
            child = os.fork()
            if not child:
                faulthandler.dump_traceback_later(60, exit=True)
                os._exit(0 if np.array_equal(model.predict_proba(X), expected) else 3)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        done.set()
        for thread in asking:
            thread.join()
        print("all")
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.stdout == "all\n", done.stderr


@pytest.mark.parametrize("products", ["", "blas"])
@pytest.mark.parametrize("kind", [classifier, regressor])
def test_threads_get_the_answers_that_one_gets(kind, products, monkeypatch):
    monkeypatch.setenv("FASTNN_PRODUCTS", products)  # blas: no compiled call
    settings = {} if kind is classifier else {"loss": "poisson"}
    model = kind(**settings).fit(X, Y if kind is classifier else np.abs(REAL))
    ask = model.predict_proba if kind is classifier else model.predict
    parts = [X[i : i + 60] for i in range(0, 150, 15)]
    expected, found, begin = [ask(part) for part in parts], {}, threading.Barrier(4)

    def work(thread):
        begin.wait()
        found[thread] = [ask(part) for _ in range(20) for part in parts]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answers in found.values():
        for a, b in zip(answers, expected * 20, strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(found) == 4


def test_sizes_of_layers_are_no_loss():
    with pytest.raises(ValueError, match="'loss' parameter of MLPRegressor"):
        ours.MLPRegressor((50,)).fit(X, REAL)
