"""Restart strategies: whether a job that failed is started again, and after what time. Flink's, with its parameters.

Pure: time goes in, decisions come out. `failed(now)` is told each failure, in order; `now` is seconds by a clock that is
never set back.
"""

from __future__ import annotations

import random
from collections import deque
from typing import Protocol

from sqlstream.errors import OptionError
from sqlstream.options import SessionOptions, duration_text


class RestartStrategy(Protocol):
    """One job's, for all of its attempts in this process. `bounded`: it ends by itself what fails for ever."""

    @property
    def bounded(self) -> bool:
        """Whether it allows a number of attempts that does not depend on when they fail."""

    def failed(self, now: float) -> float | None:
        """Seconds to wait until the next attempt; None: there is none."""

    def __str__(self) -> str:
        """As users are told: what allows no more attempts."""


class NoRestart:
    """The first failure is the last."""

    bounded = True

    def failed(self, now: float) -> float | None:
        """None."""
        return None

    def __str__(self) -> str:
        return "restart-strategy.type = none"


class FixedDelay:
    """So many attempts, each after the same delay."""

    bounded = True

    def __init__(self, attempts: int, delay: float) -> None:
        self.attempts, self.delay = attempts, delay
        self._failures = 0

    def failed(self, now: float) -> float | None:
        """The delay, until there were as many failures as attempts."""
        self._failures += 1
        return self.delay if self._failures <= self.attempts else None

    def __str__(self) -> str:
        return f"restart-strategy.fixed-delay.attempts = {self.attempts}"


class FailureRate:
    """`most` restarts within `interval`, each after the same delay; one failure more in that time is the last."""

    bounded = False

    def __init__(self, most: int, interval: float, delay: float) -> None:
        self.most, self.interval, self.delay = most, interval, delay
        self._times: deque[float] = deque(maxlen=most + 1)

    def failed(self, now: float) -> float | None:
        """The delay, unless this is the last of too many in the interval."""
        self._times.append(now)
        many = len(self._times) > self.most and now - self._times[0] <= self.interval
        return None if many else self.delay

    def __str__(self) -> str:
        interval = duration_text(round(self.interval * 1e6))
        return f"restart-strategy.failure-rate.max-failures-per-interval = {self.most} in {interval}"


class ExponentialDelay:
    """The n-th delay is `initial` * `multiplier` ** (n - 1), more or less a random part of it, between `initial` and
    `longest`. When the job ran `reset` seconds since it was last started again, n begins with 1. `attempts`: the greatest
    n; None: no limit."""

    def __init__(
        self,
        initial: float,
        longest: float,
        multiplier: float,
        reset: float,
        jitter: float,
        attempts: int | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.initial, self.longest, self.multiplier = initial, longest, multiplier
        self.reset, self.jitter, self.attempts = reset, jitter, attempts
        self._rng = rng or random.Random()
        self._number, self._delay = 0, initial
        self._started: float | None = None  # when the last attempt was to begin
        self.bounded = attempts is not None

    def failed(self, now: float) -> float | None:
        """The next delay."""
        if self._started is None or now - self._started >= self.reset:
            self._number, self._delay = 1, self.initial
        else:
            self._number, self._delay = self._number + 1, min(self._delay * self.multiplier, self.longest)
        if self.attempts is not None and self._number > self.attempts:
            return None
        delay = self._delay * (1 + self._rng.uniform(-self.jitter, self.jitter))
        delay = max(self.initial, min(delay, self.longest))
        self._started = now + delay
        return delay

    def __str__(self) -> str:
        return f"restart-strategy.exponential-delay.attempts-before-reset-backoff = {self.attempts}"


def strategy_of(options: SessionOptions, checkpoints: bool) -> RestartStrategy:
    """The strategy that the options say. `checkpoints`: whether the job takes any; without them the default is none."""
    o = options
    kind = o.restart or ("exponential-delay" if checkpoints else "none")
    if kind == "fixed-delay":
        return FixedDelay(o.fixed_attempts, o.fixed_delay / 1e6)
    if kind == "failure-rate":
        return FailureRate(o.failure_rate, o.failure_interval / 1e6, o.failure_delay / 1e6)
    if kind == "exponential-delay":
        if o.initial_backoff > o.max_backoff:
            raise OptionError(
                f"option 'restart-strategy.exponential-delay.initial-backoff': {duration_text(o.initial_backoff)} is more "
                f"than max-backoff, {duration_text(o.max_backoff)}"
            )
        return ExponentialDelay(
            o.initial_backoff / 1e6,
            o.max_backoff / 1e6,
            o.backoff_multiplier,
            o.backoff_reset / 1e6,
            o.jitter,
            o.backoff_attempts,
        )
    return NoRestart()
