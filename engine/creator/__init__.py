"""The creator machine: portfolios, marks, fills, corrections of fills, suspensions.

Nothing here knows a follower or a broker gateway.
"""
