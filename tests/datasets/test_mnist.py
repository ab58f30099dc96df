"""Reading IDX files: good ones, and every way in which one can be bad."""

import gzip
import struct
import sys
import types

import numpy as np
import pytest

import fastnn


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path, rng):
    for name, n in (("train", 20), ("t10k", 6)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = np.arange(n, dtype=np.uint8) % 10
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_plain_and_gzipped_files(folder):
    data = fastnn.load_mnist(folder, batch_size=4, validation_size=0.25)
    assert data.train.data_.shape == (15, 784)
    assert data.validate.n_samples == 5
    assert data.train.data_.dtype == np.float32
    assert 0 <= data.test.data_.min() < data.test.data_.max() <= 1
    np.testing.assert_array_equal(np.argmax(data.test.labels, axis=1), np.arange(6))


def test_the_real_thing(mnist_folder):
    data = fastnn.load_mnist(mnist_folder, validation_size=0)
    assert data.train.data_.shape == (60_000, 784)
    assert data.validate is None
    assert data.test.labels.sum(axis=0).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1], "is truncated"),
        (lambda content: content[:7], "is truncated: 7 bytes, its header has 16"),
        (lambda content: content + b"x", "bytes to spare"),
        (lambda content: b"\0\0\x0d\3" + content[4:], "starts with 00000d03, not 00000803"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(folder, spoil, message):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=f"train-images-idx3-ubyte.*{message}"):
        fastnn.load_mnist(folder)


def test_a_truncated_gzip_file(folder):
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="truncated or no gzip file"):
        fastnn.load_mnist(folder)


def test_a_missing_file_and_no_folder(folder):
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="no file t10k-images-idx3-ubyte or"):
        fastnn.load_mnist(folder)
    with pytest.raises(ValueError, match="download=True"):
        fastnn.load_mnist()


def test_images_and_labels_that_do_not_match(folder):
    labels = gzip.compress(idx(np.zeros(3, np.uint8)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(labels)
    with pytest.raises(ValueError, match="20 images and 3 labels"):
        fastnn.load_mnist(folder)


def test_download_asks_for_four_files_with_checksums(folder, monkeypatch):
    asked = []
    pooch = types.ModuleType("pooch")
    pooch.retrieve = lambda url, known_hash, fname, path: asked.append((url, known_hash, path))
    monkeypatch.setitem(sys.modules, "pooch", pooch)
    fastnn.load_mnist(folder, download=True)
    assert len(asked) == 4
    for url, known_hash, path in asked:
        assert url.startswith("https://")
        assert len(known_hash) == len("sha256:") + 64
        assert path == folder


def test_download_without_pooch_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[demo\]'"):
        fastnn.load_mnist(folder, download=True)
