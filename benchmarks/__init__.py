"""The benchmark harness: one module per benchmark, everything measured on the real path, every
run audited.

`lockstep bench NAME` runs one. README.md says what each figure shows and what it does not. No other
package imports this one.
"""
