"""Messages between the engine and the outside, as values: inputs, commands, answers, blocks.

Nothing here decides, and no JSON is read or written: that is in `gateways.json`.
"""
