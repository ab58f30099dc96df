"""How many cores a process may use, by files like those of Linux's control groups."""

import math
import os

import pytest

from fastnn.kernels.step import cores


def files(folder, contents):
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "cgroup", folder / "membership"


@pytest.mark.parametrize(
    ("membership", "contents", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/hidden/deeper\n", {"cpu.max": "300000 100000\n"}, 3),  # a container's view
        ("0::/../..\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "4:cpu,cpuacct:/docker/1\n3:memory:/other\n",
            {
                "cpu/docker/1/cpu.cfs_quota_us": "250000\n",
                "cpu/docker/1/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            "4:cpu,cpuacct:/docker/1\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            math.inf,
        ),
        ("7:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "1\n"}, math.inf),
        ("0::/\n", {"cpu.max": "nonsense"}, math.inf),
    ],
)
def test_quotas_of_control_groups(tmp_path, membership, contents, expected):
    groups, member = files(
        tmp_path,
        {"membership": membership, **{f"cgroup/{name}": text for name, text in contents.items()}},
    )
    assert cores.quota(groups, member) == expected


def test_no_control_groups(tmp_path):
    assert cores.quota(tmp_path, tmp_path / "membership") == math.inf


@pytest.mark.parametrize(
    ("openmp", "limit", "expected"),
    [
        ("", math.inf, 8),
        ("3", math.inf, 3),
        ("4,2", math.inf, 4),
        ("many", math.inf, 8),
        ("100", math.inf, 8),
        ("", 2.5, 2),
        ("", 0.5, 1),
        ("2", 5.0, 2),
        ("0", math.inf, 1),
    ],
)
def test_the_smallest_limit_holds(monkeypatch, openmp, limit, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "quota", lambda: limit)
    monkeypatch.setenv("OMP_NUM_THREADS", openmp)
    assert cores.available() == expected
