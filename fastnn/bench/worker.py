"""The process of one contestant: takes requests as lines of JSON, answers each with a line.

``{"case": KEY}`` prepares, verifies and warms up a case. The answer is ``{}``, or ``{"none": true}``
where the contestant has no such thing, or ``{"wrong": WHY}``. ``{"seconds": BUDGET}`` times it; the
answer is ``{"us": MICROSECONDS}``. The process of the bounds is asked by ``bounds.answers``.
"""

import json
import os
import sys
from typing import Any

from fastnn.bench import bounds, contestants, record, timing
from fastnn.bench.cases import by_key


def answers(name: str, threads: int, requests: Any) -> Any:
    """Yield the answer to each request."""
    contestant = contestants.load(name, threads)
    call: contestants.Call | None = None
    for request in requests:
        try:
            if "case" in request:
                call, case = None, by_key()[request["case"]]
                call = contestant.call(case)
                wrong = contestant.verify(case, call) if call else None
                if call and not wrong:
                    timing.warm_up(call)
                yield {"none": True} if call is None else {"wrong": wrong} if wrong else {}
            else:
                assert call is not None
                yield {"us": 1e6 * timing.measure(call, request["seconds"]) / case.at_once}
        except Exception as error:
            first_line = next(iter(str(error).splitlines()), "")
            yield {"wrong": f"{type(error).__name__}: {first_line}"}


def main() -> None:
    """Answer on what was standard output; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    name, threads = sys.argv[1], int(sys.argv[2])
    requests = map(json.loads, sys.stdin)
    found = (
        bounds.answers(threads, requests) if name == record.BOUND else answers(name, threads, requests)
    )
    for answer in found:
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
