"""The broker gateway's actor: orders from follower journals to the broker, its answers back.

Nothing here knows NATS, a broker's fill rules, or the actors of creators and followers.
"""
