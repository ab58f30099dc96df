"""The benchmark suite: what is timed, by whom, against which bounds, and how it is told.

``cases`` says what is timed; ``contestants`` who takes part, a file each for what they run; ``bounds``
measures what the machine can do. ``runner`` starts a ``worker`` process for each contestant and lets
them take turns; ``record`` keeps, merges and compares runs; ``report`` and ``roofline`` show them.
"""
