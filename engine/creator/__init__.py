"""The creator machine: portfolios, fills, corrections of fills, suspensions.

It knows nothing of followers or broker gateways.
"""
