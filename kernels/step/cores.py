"""How many cores this process may use: affinity, container quotas, OMP_NUM_THREADS."""

import math
import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def available() -> int:
    """Return how many threads may compute at once; at least 1.

    That is the smallest of the cores that the process may run on, its container's quota of processor
    time, rounded down, and ``OMP_NUM_THREADS``, if it is a number.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    limits = [cores, quota()]
    chosen = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # one for each nesting
    if chosen.isdecimal():
        limits.append(int(chosen))
    return max(1, math.floor(min(limits)))


def quota(cgroups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> float:
    """Return how many cores' time the process's control groups give it; infinity without a limit.

    Linux, cgroup v1 and v2. A group's limit holds for the groups in it too. In a container the groups
    above its own are hidden, and its own is often the root that it sees.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return math.inf
    limits = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        group = root / os.path.normpath(path).lstrip("/")
        limits += [_limit(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min(limits)


def _limit(group: Path) -> float:
    """Return the quota of one control group over its period."""
    with suppress(OSError, ValueError):
        time, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        return math.inf if time == "max" else int(time) / int(period)
    with suppress(OSError, ValueError):
        time = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8")
        period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return math.inf if int(time) <= 0 else int(time) / int(period)
    return math.inf
