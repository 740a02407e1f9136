"""What a producer has done so far, in numbers that add up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """A snapshot, counted in events since the producer was made.

    ``accepted == delivered + failed + in_flight`` holds in every snapshot. `invalid` and `buffer_full`
    count the events that `publish` refused with an exception; they are in none of the other numbers.

    Attributes:
        accepted: `publish` returned a handle.
        delivered: acknowledged by all in-sync replicas.
        failed: given up; the handle and `on_error` carry the reason.
        invalid: refused with InvalidEvent.
        buffer_full: refused with BufferFull.
        in_flight: accepted, neither delivered nor failed yet.
    """

    accepted: int
    delivered: int
    failed: int
    invalid: int
    buffer_full: int
    in_flight: int


@dataclass(slots=True)
class Tally:
    """The running counters behind `ProducerStats`; the producer's lock guards them."""

    accepted: int = 0
    delivered: int = 0
    failed: int = 0
    invalid: int = 0
    buffer_full: int = 0

    @property
    def in_flight(self) -> int:
        """Events accepted and not yet resolved."""
        return self.accepted - self.delivered - self.failed

    def snapshot(self) -> ProducerStats:
        """Return the numbers as they stand."""
        return ProducerStats(
            self.accepted, self.delivered, self.failed, self.invalid, self.buffer_full, self.in_flight
        )
