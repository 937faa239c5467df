"""One token bucket a kiosk: a flooding one is set aside without harming the others, and keeps its data at home."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Records a second that may go on for ever, and how many at once; what is sent late counts half."""

    records_per_s: float
    burst: float
    quiet_release_s: float
    late_weight: float = 0.5


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float
    flooded_s: float | None = None


class RateLimiter:
    """The buckets of all kiosks; `now_s` is monotonic."""

    def __init__(self, limits: RateLimits) -> None:
        """All buckets are full."""
        self._limits = limits
        self._buckets: dict[str, _Bucket] = {}

    def spend(self, kid: str, records: int, late: int, now_s: float) -> bool:
        """Take a batch of `records`, `late` of them from the backlog, out of the bucket; False when it runs dry."""
        limits = self._limits
        bucket = self._buckets.get(kid)
        if bucket is None:
            bucket = self._buckets[kid] = _Bucket(limits.burst, now_s)
        bucket.tokens = min(limits.burst, bucket.tokens + (now_s - bucket.at_s) * limits.records_per_s)
        bucket.at_s = now_s
        cost = records - late + late * limits.late_weight
        if cost > bucket.tokens:
            bucket.flooded_s = now_s
            return False
        bucket.tokens -= cost
        return True

    def is_quiet(self, kid: str, now_s: float) -> bool:
        """Whether the bucket has not run dry for as long as a kiosk is set aside.

        A kiosk that this process never saw flooding is quiet from the moment it is asked about.
        """
        bucket = self._buckets.get(kid)
        if bucket is None:
            bucket = self._buckets[kid] = _Bucket(self._limits.burst, now_s)
        if bucket.flooded_s is None:
            bucket.flooded_s = now_s
        return now_s - bucket.flooded_s >= self._limits.quiet_release_s

    def forget(self, kid: str) -> None:
        """Give a kiosk a fresh start."""
        self._buckets.pop(kid, None)
