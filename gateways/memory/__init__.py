"""In-memory twins of the ports, with faults on demand; they pass the contracts of the real
adapters.
"""
