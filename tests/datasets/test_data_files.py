"""Data files that are damaged or claim absurd sizes: an error with the file's name, no memory taken."""

import gzip
import io
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fastnn.datasets import files

ROOT = Path(__file__).parents[2]
MEGABYTE = 2**20


@contextmanager
def less_memory_than(most):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def idx(*shape, data=b""):
    return bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def read_idx(path):
    return files.read_idx(path.parent, "images", 3)


def test_idx_files_hold_what_they_say(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (5, 3, 2), np.uint8)
    content = idx(5, 3, 2, data=data.tobytes())
    halves = gzip.compress(content[:20]) + gzip.compress(content[20:]) + b"\0" * 9  # as gzip takes them
    for packed in (gzip.compress(content), halves):
        (tmp_path / "images.gz").write_bytes(packed)
        np.testing.assert_array_equal(read_idx(tmp_path / "images.gz"), data)
    (tmp_path / "images").write_bytes(content)
    np.testing.assert_array_equal(read_idx(tmp_path / "images"), data)


@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (2**31, 2, 1), (2**16, 2**16, 1), (2**20, 28, 28)])
@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_an_idx_header_of_absurd_sizes_is_refused(name, sizes, tmp_path):
    content = idx(*sizes, data=b"\0" * 1000)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with less_memory_than(MEGABYTE), pytest.raises(ValueError, match=f"{name} is truncated or damaged"):
        read_idx(tmp_path / name)


def test_of_an_idx_file_that_unpacks_to_more_than_its_shape_no_more_is_read(tmp_path):
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(10, 28, 28, data=bytes(64 * MEGABYTE))))
    with less_memory_than(MEGABYTE), pytest.raises(ValueError, match=r"images\.gz has bytes to spare"):
        read_idx(tmp_path / "images.gz")


def test_an_idx_file_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_LARGEST_IDX", 2 * MEGABYTE)
    (tmp_path / "images.gz").write_bytes(gzip.compress(idx(64, 256, 256, data=bytes(4 * MEGABYTE))))
    with (
        less_memory_than(MEGABYTE),
        pytest.raises(ValueError, match=r"images\.gz.*at most 2097152 can"),
    ):
        read_idx(tmp_path / "images.gz")


def test_an_idx_file_with_another_checksum_is_refused(tmp_path):
    content = bytearray(gzip.compress(idx(5, 3, 2, data=bytes(30))))
    content[-6] ^= 1
    (tmp_path / "images.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"images\.gz is truncated or no gzip file"):
        read_idx(tmp_path / "images.gz")


def npy(shape="(3, 4)", dtype="<f8", data=b"\0" * 96, version=(1, 0)):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header + data


def npz(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


ABSURD = [
    npy("(1000000, 1000000)"),
    npy("(4611686018427387904, 4)"),
    npy("(99999999999999999999999999,)"),
    npy("(0, 99999999999999999999999999)"),
    npy("(-3, -4)"),
    npy("(-1,)"),
    npy(dtype="<U999999999"),
    npy("(2, 2)", "|O"),
    npy("'abc'"),
    npy(version=(9, 9)),
    npy("(" * 500 + ")" * 500),
    npy("(3, 4", version=(2, 0)),
    npy()[:9],
    b"\x93NUMPY\2\0\0\0\0\x70" + b" " * 99,  # a header of 2 GB
]


@pytest.mark.parametrize("content", ABSURD)
def test_npy_headers_that_are_absurd_are_refused(content, tmp_path):
    (tmp_path / "array.npy").write_bytes(content)
    with (
        less_memory_than(MEGABYTE),
        pytest.raises(ValueError, match=r"array\.npy is not a readable \.npy array"),
    ):
        files.load_npy(tmp_path / "array.npy")


@pytest.mark.parametrize("content", ABSURD)
def test_npz_members_that_are_absurd_are_refused(content, tmp_path):
    npz(tmp_path / "data.npz", X=content, y=npy())
    with less_memory_than(MEGABYTE), pytest.raises(ValueError, match=r"cannot read .*data\.npz"):
        files.load_npz(tmp_path / "data.npz")


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_all_versions_of_the_format_are_read(version, tmp_path):
    data = np.arange(12.0).reshape(3, 4)
    (tmp_path / "array.npy").write_bytes(npy(data=data.tobytes(), version=version))
    np.testing.assert_array_equal(files.load_npy(tmp_path / "array.npy"), data)
    npz(
        tmp_path / "data.npz", X=npy(data=data.tobytes(), version=version), y=npy("()", "<i4", bytes(4))
    )
    X, y = files.load_npz(tmp_path / "data.npz")
    np.testing.assert_array_equal(X, data)
    assert y == 0


def test_an_npz_member_that_claims_more_than_the_file_can_hold_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    npz(path, X=npy("(1000000, 1000)"), y=npy())
    content, size = path.read_bytes(), struct.pack("<I", len(npy("(1000000, 1000)")))
    path.write_bytes(content.replace(size, struct.pack("<I", 0xF0000000)))
    with less_memory_than(MEGABYTE), pytest.raises(ValueError, match=r"cannot read .*data\.npz"):
        files.load_npz(path)


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    for content in (b"", b"text", npy()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot read .*data\.npz"):
            files.load_npz(path)
    npz(path, a=npy())
    with pytest.raises(ValueError, match=r"data\.npz needs arrays X and y, it has a"):
        files.load_npz(path)


def mutated(content, rng):
    content = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(len(content) or 1))
        if content and rng.integers(4):
            content[place] = int(rng.integers(256))
        else:
            del content[place : place + int(rng.integers(1, 40))]
    return bytes(content)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of zipfile, about names that occur twice
@pytest.mark.parametrize("kind", ["npy", "npz", "packed npz", "idx", "packed idx"])
def test_mutations_of_a_file_give_an_array_or_the_one_error(kind, tmp_path):
    rng = np.random.default_rng(0)
    made = io.BytesIO()
    if kind.endswith("npz"):
        (np.savez_compressed if "packed" in kind else np.savez)(made, X=np.eye(4), y=np.arange(4))
        path, read = tmp_path / "data.npz", files.load_npz
    elif kind == "npy":
        np.save(made, np.eye(4))
        path, read = tmp_path / "data.npy", files.load_npy
    else:
        content = idx(4, 3, 2, data=bytes(range(24)))
        made.write(gzip.compress(content) if "packed" in kind else content)
        path, read = tmp_path / ("images.gz" if "packed" in kind else "images"), read_idx
    refused = []
    for _ in range(400):
        path.write_bytes(mutated(made.getvalue(), rng))
        with less_memory_than(8 * MEGABYTE):
            try:
                read(path)
            except ValueError as error:
                refused.append(str(error))
    assert len(refused) > 50
    assert all(path.name in error for error in refused)
