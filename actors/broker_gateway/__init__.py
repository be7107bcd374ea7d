"""The broker gateway's actor: orders from follower journals to the broker, its answers back."""
