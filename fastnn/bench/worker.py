"""The process of one contestant: takes requests as lines of JSON, answers each with a line.

``{"case": KEY}`` prepares, verifies and warms up a case. The answer is ``{}``, or ``{"none": true}``
where the contestant has no such thing, or ``{"wrong": WHY}``. ``{"seconds": BUDGET}`` times it; the
answer is ``{"us": MICROSECONDS}``.
"""

import json
import os
import sys
from typing import Any

from fastnn.bench import bounds, contestants, timing
from fastnn.bench.cases import by_key


def answers(name: str, threads: int, requests: Any) -> Any:
    """Yield the answer to each request."""
    contestant = contestants.load(name, threads)
    call: contestants.Call | None = None
    for line in requests:
        request = json.loads(line)
        try:
            if "case" in request:
                call, case = None, by_key()[request["case"]]
                call = contestant.call(case)
                wrong = timing.verify(case, contestant.arrays(call())) if call else None
                yield {"none": True} if call is None else {"wrong": wrong} if wrong else {}
            else:
                assert call is not None
                yield {"us": 1e6 * timing.measure(call, request["seconds"])}
        except Exception as error:
            first_line = next(iter(str(error).splitlines()), "")
            yield {"wrong": f"{type(error).__name__}: {first_line}"}


def main() -> None:
    """Answer on what was standard output; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    name, threads = sys.argv[1], int(sys.argv[2])
    if name == "bounds":
        print(json.dumps(bounds.measure(threads)), file=out, flush=True)
        return
    for answer in answers(name, threads, sys.stdin):
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
