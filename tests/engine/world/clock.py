"""Event time and the number of the newest input, which all sides of an `EngineWorld` share."""


class WorldClock:
    """Event time in ns, moved by the world alone, and a count of inputs."""

    def __init__(self, time: int) -> None:
        self.time = time
        self.inputs_count = 0

    def next_input(self) -> int:
        """Return the number of a new input."""
        self.inputs_count += 1
        return self.inputs_count
