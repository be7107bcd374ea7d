"""The findings of an audit: one check per promise, with its counts and the first offender in
words.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

_TITLES = {
    "P1": "intent",
    "P2": "dispositions",
    "P3": "write-ahead",
    "P4": "order",
    "P5": "one writer",
    "P6": "replay",
    "P7": "conservation",
    "P8": "executions",
    "P11": "decisions",
}


@dataclass(slots=True)
class Check:
    """The check of one promise. `counts` are the things looked at, `faults` is the number of
    faults, `offender` describes the first.
    """

    promise: str
    counts: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    offender: str = ""

    @property
    def title(self) -> str:
        """The subject of the promise."""
        return _TITLES[self.promise]

    @property
    def passed(self) -> bool:
        """True if there is no fault."""
        return self.faults == 0

    def count(self, name: str, by: int = 1) -> None:
        """Count things that were looked at. A name is shown once it was counted, even with zero."""
        self.counts[name] = self.counts.get(name, 0) + int(by)

    def fail(self, offender: str, faults: int = 1) -> None:
        """Add faults. Only the first is described."""
        self.faults += int(faults)
        if not self.offender:
            self.offender = offender

    def line(self) -> str:
        """Return the check as one line, and the offender as a second."""
        counts = ", ".join(
            f"{count:,} {name.replace('_', ' ')}" for name, count in self.counts.items()
        )
        label = f"{self.promise} {self.title} "
        shown = f"{label:.<24} {'ok  ' if self.passed else 'FAIL'}  {counts or 'nothing to check'}"
        if self.passed:
            return shown
        return f"{shown}\n   {self.faults:,} at fault, first: {self.offender}"


class Checks:
    """The checks of one audit, by promise."""

    def __init__(self) -> None:
        self.all = {promise: Check(promise) for promise in _TITLES}
        self.notes: list[str] = []

    def __getitem__(self, promise: str) -> Check:
        return self.all[promise]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """All findings of an audit. `notes` tell of things that it could not check, which is no
    fault.
    """

    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def orders(self) -> int:
        """The number of orders audited."""
        return self["P1"].counts.get("orders", 0)

    def __getitem__(self, promise: str) -> Check:
        return next(check for check in self.checks if check.promise == promise)

    def lines(self) -> Iterable[str]:
        """Yield the report in lines, for people."""
        yield from (check.line() for check in self.checks)
        yield from (f"note: {note}" for note in self.notes)
        failed = [check.promise for check in self.checks if not check.passed]
        rate = f"{self.orders:,} orders in {self.seconds:.1f} s"
        yield (
            f"audit passed, {rate}"
            if self.passed
            else f"audit FAILED ({', '.join(failed)}), {rate}"
        )

    def json(self) -> bytes:
        """Return the report as JSON, for programs."""
        checks = [
            {
                "promise": check.promise,
                "title": check.title,
                "passed": check.passed,
                "faults": check.faults,
                "offender": check.offender,
                "counts": check.counts,
            }
            for check in self.checks
        ]
        report = {
            "passed": self.passed,
            "checks": checks,
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }
        return msgspec.json.encode(report)
