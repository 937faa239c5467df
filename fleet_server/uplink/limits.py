"""One token bucket a kiosk: a flooding one is set aside without harming the others, and keeps its data at home."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What to do with a batch."""

    TAKE = "take"
    FLOODING = "flooding"
    """The bucket ran dry just now: set the kiosk aside and say so."""
    ASIDE = "aside"
    """It is set aside already."""
    QUIET = "quiet"
    """It was set aside and has been quiet long enough: take it again and say so."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Records a second that may go on for ever, and how many at once; what is sent late counts half."""

    records_per_s: float
    burst: float
    quiet_release_s: float
    hist_weight: float = 0.5


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float
    is_aside: bool = False
    last_heard_s: float = 0.0


class RateLimiter:
    """The buckets of all kiosks; `now_s` is monotonic."""

    def __init__(self, limits: RateLimits) -> None:
        """All buckets are full."""
        self._limits = limits
        self._buckets: dict[str, _Bucket] = {}

    def judge(self, kid: str, records: int, hist: int, now_s: float) -> Verdict:
        """Whether a batch of `records`, `hist` of them from the backlog, is taken."""
        limits = self._limits
        bucket = self._buckets.setdefault(kid, _Bucket(limits.burst, now_s))
        bucket.tokens = min(limits.burst, bucket.tokens + (now_s - bucket.at_s) * limits.records_per_s)
        bucket.at_s = now_s
        heard_s, bucket.last_heard_s = bucket.last_heard_s, now_s
        verdict = Verdict.TAKE
        if bucket.is_aside:
            if now_s - heard_s < limits.quiet_release_s:
                return Verdict.ASIDE
            bucket.is_aside = False
            bucket.tokens = limits.burst
            verdict = Verdict.QUIET
        cost = records - hist + hist * limits.hist_weight
        if cost > bucket.tokens:
            bucket.is_aside = True
            return Verdict.FLOODING
        bucket.tokens -= cost
        return verdict

    def release(self, kid: str) -> None:
        """Forget a kiosk's past."""
        self._buckets.pop(kid, None)
