"""Batches, their order, and splits of arrays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import reference

few = settings(deadline=None, max_examples=40)


def same_global_state(action):
    np.random.seed(11)
    result = action()
    after = np.random.random()
    np.random.seed(11)
    assert after == np.random.random()
    return result


@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 15),
    passes=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@few
def test_batches_follow_one_global_shuffle_a_pass(n, batch_size, passes, seed):
    rows = np.arange(n)
    data = fastnn.Data(np.c_[rows, 10 * rows], batch_size, labels=100 * rows[:, None])
    steps = data.samples_per_epoch
    assert steps == -(-n // batch_size)
    np.random.seed(seed)
    batches = [data.sample() for _ in range(passes * steps)]
    next_draw = np.random.random()
    np.random.seed(seed)
    for i in range(passes):
        order = np.arange(n)
        np.random.shuffle(order)
        rows = rows[order]
        X, Y = zip(*batches[i * steps : (i + 1) * steps], strict=True)
        assert [len(x) for x in X] == [min(batch_size, n - k) for k in range(0, n, batch_size)]
        np.testing.assert_array_equal(np.concatenate(X), np.c_[rows, 10 * rows])
        np.testing.assert_array_equal(np.concatenate(Y), 100 * rows[:, None])
    assert next_draw == np.random.random()


def test_an_own_generator_leaves_the_global_one_alone():
    data = fastnn.Data(np.arange(9), 4)
    rng = np.random.default_rng(5)
    got = same_global_state(lambda: np.concatenate([data.sample(rng=rng) for _ in range(6)]))
    again, rows = np.random.default_rng(5), np.arange(9)
    for i in range(2):
        order = np.arange(9)
        again.shuffle(order)
        rows = rows[order]
        np.testing.assert_array_equal(got[9 * i : 9 * (i + 1)], rows)


def test_without_shuffling_rows_come_in_order_and_nothing_is_drawn():
    data = fastnn.Data(np.arange(5), 2)
    got = same_global_state(lambda: [data.sample(shuffle=False).tolist() for _ in range(4)])
    assert got == [[0, 1], [2, 3], [4], [0, 1]]


def test_reset_starts_a_new_pass():
    data = fastnn.Data(np.arange(7), 3, labels=np.arange(7))
    np.random.seed(3)
    data.sample()
    data.reset()
    X, Y = zip(*[data.sample() for _ in range(3)], strict=True)
    np.random.seed(3)
    first, second = np.arange(7), np.arange(7)
    np.random.shuffle(first)
    np.random.shuffle(second)
    np.testing.assert_array_equal(np.concatenate(X), first[second])
    np.testing.assert_array_equal(np.concatenate(Y), first[second])


def test_batches_and_the_callers_arrays_stay_as_they_are():
    X, Y = np.arange(12.0).reshape(6, 2), np.arange(6.0)[:, None]
    X.flags.writeable = Y.flags.writeable = False
    data = fastnn.Data(X, 4, labels=Y)
    first = data.sample()
    kept = [part.copy() for part in first]
    for _ in range(5):
        data.sample()
    np.testing.assert_array_equal(first[0], kept[0])
    np.testing.assert_array_equal(first[1], kept[1])
    np.testing.assert_array_equal(X, np.arange(12.0).reshape(6, 2))


def test_data_of_no_rows():
    data = fastnn.Data(np.zeros((0, 3)), 4)
    assert data.samples_per_epoch == 0
    assert data.sample().shape == (0, 3)


@pytest.mark.parametrize(
    ("batch_size", "labels", "error", "message"),
    [
        (0, None, ValueError, "batch_size must be at least 1, got 0"),
        (-3, None, ValueError, "batch_size"),
        (2.0, None, TypeError, "batch_size must be an integer"),
        (True, None, TypeError, "batch_size"),
        ("8", None, TypeError, "batch_size"),
        (2, np.zeros(3), ValueError, "data has 4 rows, labels have 3"),
    ],
)
def test_data_that_cannot_be_batched(batch_size, labels, error, message):
    with pytest.raises(error, match=message):
        fastnn.Data(np.zeros((4, 2)), batch_size, labels)


def test_the_parts_of_a_dataset():
    parts = [np.zeros((n, d)) for n in (7, 3, 2) for d in (4, 2)]
    data = fastnn.Dataset(parts[0], parts[1], 5, *parts[2:])
    assert (data.n_training, data.n_validation, data.out_dim, data.batch_size) == (7, 3, 2, 5)
    assert [part.samples_per_epoch for part in (data.train, data.validate, data.test)] == [2, 1, 1]
    assert [part.out_dim for part in (data.train, data.validate, data.test)] == [2, 2, 2]
    alone = fastnn.Dataset(parts[0], parts[1], 5)
    assert (alone.validate, alone.test, alone.n_validation) == (None, None, 0)
    assert (alone.feature_mean, alone.feature_std) == (None, None)


def test_a_dataset_needs_rows_of_labels_as_long_as_the_data():
    X = np.zeros((4, 2))
    with pytest.raises(ValueError, match="integers_to_one_hot"):
        fastnn.Dataset(X, np.arange(4), 2)
    with pytest.raises(ValueError, match="data has 4 rows, labels have 3"):
        fastnn.Dataset(X, np.zeros((4, 1)), 2, X, np.zeros((3, 1)))


def parts_of(data):
    return [part for part in (data.test, data.validate, data.train) if part is not None]


@given(
    n=st.integers(1, 60), sizes=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)), seed=st.integers(0, 9)
)
@few
def test_a_split_is_disjoint_and_complete(n, sizes, seed):
    rows = np.arange(n)
    sizes = dict(zip(("test_size", "validation_size"), sizes, strict=True))
    counts = [round(n * size) for size in sizes.values()]
    options = {"standardize": False, "seed": seed, **sizes}
    arguments = (np.c_[rows, -rows], rows + 0.5)
    if sum(counts) >= n:
        with pytest.raises(ValueError, match=f"leave none of {n} rows to train on"):
            fastnn.Dataset.from_arrays(*arguments, **options)
        return
    data = same_global_state(lambda: fastnn.Dataset.from_arrays(*arguments, **options))
    parts = parts_of(data)
    assert [len(part.data_) for part in parts] == [k for k in (*counts, n - sum(counts)) if k]
    seen = np.concatenate([part.data_[:, 0] for part in parts])
    np.testing.assert_array_equal(np.sort(seen), rows)
    for part in parts:
        np.testing.assert_array_equal(part.data_[:, 1], -part.data_[:, 0])
        np.testing.assert_array_equal(part.labels[:, 0], part.data_[:, 0] + 0.5)


def test_the_seed_makes_the_split():
    def first_rows(seed):
        X = np.arange(50.0)[:, None]
        return fastnn.Dataset.from_arrays(X, X, seed=seed, standardize=False).train.data_.tolist()

    assert first_rows(1) == first_rows(1)
    assert len({str(first_rows(seed)) for seed in (0, 1, 2, None, None)}) == 5
    assert sorted(first_rows(1)) != first_rows(1)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-12)])
def test_the_training_part_alone_standardises(dtype, tolerance, rng):
    X = (rng.normal(size=(20_000, 3)) * [1, 2, 5] + [100, -30, 0]).astype(dtype)
    y = np.arange(len(X)) % 4
    raw = fastnn.Dataset.from_arrays(X, y, standardize=False)
    data = fastnn.Dataset.from_arrays(X, y)
    mean = raw.train.data_.mean(axis=0, dtype=np.float64)
    std = raw.train.data_.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(data.feature_mean, mean, rtol=tolerance)
    np.testing.assert_allclose(data.feature_std, std, rtol=tolerance)
    for got, part in zip(parts_of(data), parts_of(raw), strict=True):
        assert got.data_.dtype == dtype
        np.testing.assert_allclose(got.data_, (part.data_ - mean) / std, atol=10 * tolerance)
        np.testing.assert_array_equal(got.labels, part.labels)
    assert np.abs(data.train.data_.mean(axis=0, dtype=np.float64)).max() < tolerance
    assert (raw.feature_mean, raw.feature_std) == (None, None)


@given(n=st.integers(5, 200), value=st.floats(-1e6, 1e6), dtype=st.sampled_from(["float32", "float64"]))
@few
def test_a_constant_feature_is_only_shifted(n, value, dtype):
    X = np.c_[np.arange(n), np.full(n, value)].astype(dtype)
    data = fastnn.Dataset.from_arrays(X, np.arange(n) % 2)
    assert data.feature_std[1] == 1
    rounding = n * np.finfo(dtype).eps * abs(value)
    for part in parts_of(data):
        assert np.abs(part.data_[:, 1]).max() <= rounding


def test_a_feature_that_varies_only_in_the_test_part():
    X = np.c_[np.arange(100.0), np.full(100, 0.1)]
    y = np.arange(100)
    rows = fastnn.Dataset.from_arrays(X, y, standardize=False).test.data_[:, 0].astype(int)
    X[rows, 1] = 0.4
    data = fastnn.Dataset.from_arrays(X, y)
    np.testing.assert_allclose(data.test.data_[:, 1], 0.3, rtol=1e-12)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array([2, 0, 1, 2], np.uint8), np.eye(3)[[2, 0, 1, 2]]),
        ([True, False, True, True], np.eye(2)[[1, 0, 1, 1]]),
        ([0.5, 1.5, 2.5, 3.5], [[0.5], [1.5], [2.5], [3.5]]),
        ([1.0, 0.0, 1.0, 1.0], [[1.0], [0.0], [1.0], [1.0]]),
        ([[1, 2], [3, 4], [5, 6], [7, 8]], [[1, 2], [3, 4], [5, 6], [7, 8]]),
    ],
)
@pytest.mark.parametrize(
    ("given", "asked", "result"),
    [("float32", None, "float32"), ("int16", None, "float64"), ("float64", "float32", "float32")],
)
def test_labels_become_rows_in_the_datas_dtype(y, expected, given, asked, result):
    X = np.arange(4).astype(given)[:, None]
    data = fastnn.Dataset.from_arrays(
        X, y, standardize=False, test_size=0, validation_size=0, dtype=asked
    )
    assert (data.validate, data.test) == (None, None)
    assert data.train.data_.dtype == data.train.labels.dtype == result
    rows = data.train.data_[:, 0].astype(int)
    np.testing.assert_array_equal(data.train.labels, np.asarray(expected)[rows])


X4, Y4 = [[1.0], [2.0], [3.0], [4.0]], [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("X", "y", "options", "error", "message"),
    [
        (X4, Y4[:3], {}, ValueError, "X has 4 rows, y has 3"),
        ([1.0, 2.0], [0, 1], {}, ValueError, r"X must have shape \(n, features\), got \(2,\)"),
        (np.zeros((2, 2, 2)), [0, 1], {}, ValueError, "X must have shape"),
        ([[1.0], [2.0, 3.0]], [0, 1], {}, ValueError, "X is not a rectangular array"),
        ([["a"], ["b"]], [0, 1], {}, TypeError, "X must hold real numbers"),
        ([[1j], [2j]], [0, 1], {}, TypeError, "X must hold real numbers"),
        ([[None], [1]], [0, 1], {}, TypeError, "X must hold real numbers"),
        (X4, list("abab"), {}, TypeError, "y must hold real numbers"),
        (X4, [[1], [0, 1], [1], [1]], {}, ValueError, "y is not a rectangular array"),
        (X4, 3, {}, ValueError, r"\by\b"),
        (X4, [0, -1, 1, 1], {}, IndexError, "y holds the class -1"),
        (X4, Y4, {"validation_size": -0.1}, ValueError, "validation_size"),
        (X4, Y4, {"validation_size": 0.5, "test_size": 0.5}, ValueError, "leave none of 4 rows"),
        (X4, Y4, {"test_size": 1.5}, ValueError, "test_size"),
        (X4, Y4, {"test_size": float("nan")}, ValueError, "test_size"),
        (X4, Y4, {"test_size": "half"}, TypeError, "test_size must be a number"),
        (X4, Y4, {"batch_size": 0}, ValueError, "batch_size"),
        (X4, Y4, {"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'float64'"),
        (np.zeros((0, 2)), [], {}, ValueError, "0 rows to train on"),
    ],
)
def test_arrays_that_make_no_dataset(X, y, options, error, message):
    with pytest.raises(error, match=message):
        fastnn.Dataset.from_arrays(X, y, **options)


def test_from_arrays_works_on_copies():
    X, y = np.asfortranarray(np.arange(12.0).reshape(6, 2)), np.arange(6.0)[:, None]
    for standardize in (True, False):
        data = fastnn.Dataset.from_arrays(X, y, standardize=standardize, batch_size=2)
        for part in parts_of(data):
            part.data_[...] = part.labels[...] = -1
    np.testing.assert_array_equal(X, np.arange(12.0).reshape(6, 2))
    np.testing.assert_array_equal(y[:, 0], np.arange(6.0))


@pytest.mark.parametrize("labels", [np.eye(3)[[0, 1, 2]], np.zeros((3, 1)), None])
def test_validation_labels_that_do_not_fit_are_refused_before_training(labels):
    X, Y = np.ones((4, 2)), np.eye(2)[[1, 1, 1, 1]]
    layer = fastnn.FullyConnected(2, "softmax", "zeros")
    net = fastnn.NeuralNetwork("cross_entropy", [layer], {"name": "SGD"}, seed=0)
    with pytest.raises(ValueError, match=r"validation|labels"):
        net.train(fastnn.Dataset(X, Y, 2, X[:3], labels), 1)
    assert not layer.parameters or not layer.parameters["W"].any()


def small_network(hidden="tanh"):
    layers = [{"name": "fully_connected", "n_out": 5, "activation": hidden}]
    layers.append({"name": "fully_connected", "n_out": 3, "activation": "softmax"})
    return fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0)


def part(name, value):
    data = fastnn.Dataset(np.ones((10, 4)), np.eye(3)[np.arange(10) % 3], 4)
    setattr(data.train, name, value)
    return data


class Own(fastnn.TanH):
    """Unknown to the engine."""


@pytest.mark.parametrize("size", [1, 3, 5, 99])
@pytest.mark.parametrize("hidden", ["tanh", Own()], ids=["engine", "layers"])
def test_another_batch_size_makes_another_number_of_batches(size, hidden):
    data = part("batch_size", size)
    assert data.train.samples_per_epoch == -(-10 // size)
    net = small_network(hidden)
    losses = []

    class Count(fastnn.Callback):
        def on_batches_end(self, run, batch_losses, errors):
            losses.extend(batch_losses)

    net.train(data, 2, callbacks=[Count()])
    assert len(losses) == 2 * data.train.samples_per_epoch


def test_a_batch_size_is_not_set_in_the_middle_of_a_pass():
    data = part("batch_size", 4).train
    data.sample()
    with pytest.raises(ValueError, match="middle of a pass"):
        data.batch_size = 3
    assert (data.batch_size, data.samples_per_epoch) == (4, 3)
    data.reset()
    data.batch_size = 3
    assert data.samples_per_epoch == 4


@pytest.mark.parametrize(
    ("name", "value"), [("iteration", 3), ("iteration", -1), ("samples_per_epoch", 4)]
)
@pytest.mark.parametrize("hidden", ["tanh", Own()], ids=["engine", "layers"])
def test_a_pass_that_is_none_is_refused(name, value, hidden):
    data = part(name, value)
    with pytest.raises(ValueError, match=f"{name}.* {value}.* there are 3 batches of 4 rows"):
        small_network(hidden).train(data, 2)
    with pytest.raises(ValueError, match="there are 3 batches"):
        part(name, value).train.sample()


@pytest.mark.parametrize("hidden", ["tanh", Own()], ids=["engine", "layers"])
def test_a_pass_of_the_first_batches(hidden):
    data = part("samples_per_epoch", 2)
    net = small_network(hidden)
    net.train(data, 3)
    assert data.train.iteration == 0
    assert len(data.train.batch_sizes()) == 2
    assert np.isfinite(net.history.loss).all()


class OwnPart(fastnn.Data):
    """Makes all itself."""

    def __init__(self):
        self.batch_size, self.samples_per_epoch, self.iteration = 2, 3, 0

    def sample(self):
        return np.ones((2, 4)), np.eye(3)[:2]


def test_a_part_with_an_init_of_its_own():
    data = part("batch_size", 4)
    data.train = OwnPart()
    assert len(small_network().train(data, 2).loss) == 2


@pytest.mark.parametrize("taken", [1, 2, 3, 5])
@pytest.mark.parametrize("hidden", ["tanh", Own()], ids=["engine", "layers"])
def test_batches_taken_before_training_shift_its_epochs_as_in_the_reference(taken, hidden, rng):
    X, Y = rng.normal(size=(20, 4)), np.eye(3)[rng.integers(0, 3, 20)]

    def trained(library):
        np.random.seed(0)
        data = fastnn.Dataset(X, Y, 6, X[:7], Y[:7])
        for _ in range(taken):
            data.train.sample()
        layers = [{"name": "fully_connected", "n_out": 5, "activation": "tanh"}]
        layers.append({"name": "fully_connected", "n_out": 3, "activation": "softmax"})
        net = library.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1})
        if library is fastnn:
            net.layers[0].activation = (
                fastnn.initialize_activation(hidden) if hidden == "tanh" else hidden
            )
        found = net.train(data, 3)
        return found["loss"] if library is reference else found.loss

    np.testing.assert_allclose(trained(fastnn), trained(reference), rtol=1e-12)


def test_fit_begins_a_pass_though_a_callback_takes_batches():
    class Look(fastnn.Callback):
        def on_epoch_end(self, run):
            run.dataset.train.sample(shuffle=False)

    X, y = np.ones((10, 4)), np.arange(10) % 3
    plain, looking = small_network(), small_network()
    plain.fit(X, y, 3, 4, shuffle=False, verbose=False)
    looking.fit(X, y, 3, 4, shuffle=False, verbose=False, callbacks=[Look()])
    assert looking.history == plain.history
