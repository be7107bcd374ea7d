"""Everything outside: each module hides one library or format and maps its errors to
`actors.errors`.

Every port of `actors.ports` has a real adapter here and an in-memory twin
(`gateways.memory.server`); both pass one contract suite.
"""
