"""``initialize_dataset``, six ``.npy`` files under the working directory, and ``load_digits``."""

import re
import sys

import numpy as np
import pytest

import fastnn

SIZES = {"train": 8, "val": 3, "test": 2}


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name):
        folder = tmp_path / "datasets" / name
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        saved = {}
        for part, n in SIZES.items():
            for kind, width in (("data", 4), ("labels", 2)):
                saved[part, kind] = rng.normal(size=(n, width))
                np.save(folder / f"{name}_{part}_{kind}.npy", saved[part, kind])
        return folder, saved

    return write


@pytest.mark.parametrize("name", ["iris", "higgs", "sinewave"])
def test_six_files_make_a_dataset(arrays, name):
    _, saved = arrays(name)
    data = fastnn.initialize_dataset(name, batch_size=3)
    assert (data.batch_size, data.out_dim, data.train.samples_per_epoch) == (3, 2, 3)
    for part, got in (("train", data.train), ("val", data.validate), ("test", data.test)):
        np.testing.assert_array_equal(got.data_, saved[part, "data"])
        np.testing.assert_array_equal(got.labels, saved[part, "labels"])
    assert fastnn.initialize_dataset(name).batch_size == 50


def test_higgs_has_no_test_labels(arrays):
    folder, saved = arrays("higgs")
    (folder / "higgs_test_labels.npy").unlink()
    data = fastnn.initialize_dataset("higgs")
    np.testing.assert_array_equal(data.test.data_, saved["test", "data"])
    np.testing.assert_array_equal(data.test.labels, np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("iris", "test_labels"),
        ("iris", "train_data"),
        ("sinewave", "test_data"),
        ("higgs", "val_labels"),
    ],
)
def test_a_missing_file_is_named_with_its_place(arrays, tmp_path, name, missing):
    folder, _ = arrays(name)
    (folder / f"{name}_{missing}.npy").unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(f"{name}_{missing}.npy")) as caught:
        fastnn.initialize_dataset(name)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["cifar", "", None, ["iris"]])
def test_an_unknown_dataset(name):
    with pytest.raises(NotImplementedError, match="'iris', 'higgs', 'sinewave'"):
        fastnn.initialize_dataset(name)


def test_files_that_hold_no_array(arrays, tmp_path):
    folder, _ = arrays("iris")
    path = folder / "iris_val_data.npy"
    whole = path.read_bytes()
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    for content in (b"", b"text", whole[:-5], whole[:20], (tmp_path / "objects.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"iris_val_data\.npy is not a readable \.npy array"):
            fastnn.initialize_dataset("iris")


def test_files_that_do_not_fit_each_other(arrays):
    folder, _ = arrays("iris")
    np.save(folder / "iris_val_labels.npy", np.zeros((5, 2)))
    with pytest.raises(ValueError, match="data has 3 rows, labels have 5"):
        fastnn.initialize_dataset("iris")


def test_digits(dtype):
    np.random.seed(11)
    data, next_draw = fastnn.load_digits(32, dtype=dtype), np.random.random()
    np.random.seed(11)
    assert next_draw == np.random.random()
    assert data.train.data_.shape == (1797 - 359 - 180, 64)
    assert (data.validate.n_samples, data.test.n_samples, data.out_dim) == (180, 359, 10)
    assert data.train.data_.dtype == data.test.labels.dtype == dtype
    counts = sum(part.labels.sum(axis=0) for part in (data.train, data.validate, data.test))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    pixels = data.test.data_ * data.feature_std + data.feature_mean
    np.testing.assert_allclose(pixels, np.clip(np.round(pixels), 0, 16), atol=1e-4)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"scikit-learn: pip install 'fastnn-cpu\[demo\]'"):
        fastnn.load_digits()
