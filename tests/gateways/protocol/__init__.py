"""The pages and vectors of the protocol, held against the code."""
