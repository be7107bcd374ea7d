"""The benchmarks, one module each.

What several of them need is in `benchmarks.harness`.
"""
