"""A line on stderr now and then while a long input is read: how far, how fast, how much longer."""

import sys
import time

EVERY_SECONDS = 10.0


class Progress:
    """Reports on `name`, at most every ten seconds, so a short input is silent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begin = self.last = time.monotonic()

    def update(self, lines: int, share: float) -> None:
        """`lines` have been read so far, which is `share` of the input (0: unknown)."""
        now = time.monotonic()
        if now - self.last < EVERY_SECONDS:
            return
        self.last = now
        seconds = now - self.begin
        speed = f"{lines:,} lines, {lines / seconds:,.0f} a second"
        left = f", {share:.0%}, about {remaining(seconds, share)} left" if share > 0 else ""
        print(f"lander data: {self.name}: {speed}{left}", file=sys.stderr, flush=True)


def remaining(seconds: float, share: float) -> str:
    """Time that the rest takes when `share` took `seconds`: `40 s`, `12 min`, `3.5 h`."""
    rest = seconds * (1 - share) / share
    if rest < 100:
        return f"{rest:.0f} s"
    return f"{rest / 60:.0f} min" if rest < 6000 else f"{rest / 3600:.1f} h"
