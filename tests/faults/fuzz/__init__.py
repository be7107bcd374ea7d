"""What a broker may send, made at random: sections with fields at their edges, JSON, torn and
flipped bytes, and messages in the wrong place.

    python -m tests.faults.fuzz --seconds 3600 --seed 1
"""
