"""Messages between the engine and the outside, as values: inputs, commands, answers, blocks.

Their JSON form is in `gateways.json`.
"""
