"""Benchmarks: ours and a bare baseline in turn within one run, judged by their ratio.

`python -m bench [NAME ...]` prints a table and writes `bench/results.json`. Absolute figures depend on the
machine and its neighbours; the ratios are what later changes are compared with.
"""
