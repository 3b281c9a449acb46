"""A key's minute by hand: counts by bucket, second by second, and their sum over the window."""

from collections import Counter, deque

from job import END_S, WINDOW_S, bucket_of, middle, rank_p99


class Ring:
    """Made with the key's first request; requests come in the order of event time."""

    __slots__ = ("next_s", "second", "seconds", "sum", "requests", "errors")

    def __init__(self, second):
        self.next_s = second  # the second that is open
        self.second = []  # its buckets, an error's as -1 - bucket
        self.seconds = deque()  # (second, its buckets) of those in the window
        self.sum, self.requests, self.errors = {}, 0, 0

    def add(self, second, latency_us, is_error):
        """Takes a request; returns what the windows that end by its time hold: (end, requests, errors, p99)."""
        said = self.close_until(second) if second > self.next_s else ()
        bucket = bucket_of(latency_us)
        self.second.append(-1 - bucket if is_error else bucket)
        return said

    def close_until(self, second):
        said = []
        while self.next_s < min(second, END_S):
            self.close()
            if self.requests:
                said.append((self.next_s, self.requests, self.errors, self.p99()))
        return said

    def close(self):
        total = self.sum
        self.next_s += 1
        if self.second:
            errors = sum(bucket < 0 for bucket in self.second)
            buckets = Counter(-1 - bucket if bucket < 0 else bucket for bucket in self.second)
            for bucket, count in buckets.items():
                total[bucket] = total.get(bucket, 0) + count
            self.requests += len(self.second)
            self.errors += errors
            self.seconds.append((self.next_s - 1, len(self.second), errors, buckets))
            self.second = []
        if self.seconds and self.seconds[0][0] < self.next_s - WINDOW_S:
            _, requests, errors, buckets = self.seconds.popleft()
            for bucket, count in buckets.items():
                if total[bucket] == count:
                    del total[bucket]
                else:
                    total[bucket] -= count
            self.requests -= requests
            self.errors -= errors

    def p99(self):
        above = self.requests - rank_p99(self.requests)
        for bucket in sorted(self.sum, reverse=True):
            above -= self.sum[bucket]
            if above < 0:
                return middle(bucket)
