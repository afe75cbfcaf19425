"""Benchmarks: manyfit beside its installed peers, at equal quality, in one run.

``python -m tests.bench --help`` from the root of the repository; ``docs/benchmarks.md`` says how it measures.

- ``cases/<family>.py``: what is measured, a few lines for each case
- ``case.py``, ``data.py``, ``contenders.py``, ``quality.py``, ``targets.py``: the words a case is written in
- ``runner.py``, ``timing.py``, ``child.py``, ``machine.py``, ``threads.py``: the measuring
- ``reference.py``: the answers that quality is held against
- ``results.py``, ``report.py``, ``units.py``: what is kept and how it is shown
"""
