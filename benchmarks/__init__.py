"""The benchmark harness: one module per benchmark, everything measured on the real path, every run
audited.

`lockstep bench NAME` runs one; README.md says what each shows and what its numbers do not say.
"""
