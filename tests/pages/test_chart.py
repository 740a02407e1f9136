"""The histogram's picture."""

from datetime import UTC, datetime, timedelta

import pytest

from auditlog_api.pages.chart import BAR_HEIGHT_MIN, HEIGHT, Chart, chart_of, length_in_words
from auditlog_storage.histogram import Bar, Histogram

START = datetime(2026, 11, 1, tzinfo=UTC)


def chart(counts: list[int], seconds: int) -> Chart:
    step = timedelta(seconds=seconds)
    bars = tuple(Bar(START + index * step, count) for index, count in enumerate(counts))
    histogram = Histogram(START, START + len(counts) * step, seconds, bars, sum(counts))
    return chart_of(histogram, lambda since, until: f"{since:%d}-{until:%d}")


def test_bars_stand_side_by_side_and_none_that_counts_is_invisible() -> None:
    found = chart([1000, 0, 1, 500], 86_400)
    assert [float(bar.height) for bar in found.bars] == [HEIGHT, 0, BAR_HEIGHT_MIN, HEIGHT / 2]
    assert [float(bar.y) + float(bar.height) for bar in found.bars] == [HEIGHT] * 4
    edges = [float(bar.x.rstrip("%")) for bar in found.bars]
    assert edges == sorted(edges)
    assert edges[-1] + float(found.bars[-1].width.rstrip("%")) < 100
    assert [bar.href for bar in found.bars] == ["01-02", "02-03", "03-04", "04-05"]
    assert (found.most, found.bar_length) == (1000, "1 day")


@pytest.mark.parametrize("first", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 1, tzinfo=UTC)])
@pytest.mark.parametrize("days", [1, 30, 364 * 1000])
def test_time_ends_with_the_calendar(first: datetime, days: int) -> None:
    step = timedelta(days=days)
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    count = min((last - first) // step, 30) + 1
    bars = tuple(Bar(first + index * step, 1) for index in range(count))
    found = chart_of(Histogram(first, last, days * 86_400, bars, count), lambda *times: f"{times}")
    assert [bar.end for bar in found.bars[:-1]] == [bar.start for bar in found.bars[1:]]
    assert found.bars[-1].start < found.bars[-1].end <= last
    assert all(first <= tick.at < last for tick in found.ticks)


def test_an_empty_histogram_is_an_empty_picture() -> None:
    found = chart([], 1)
    assert (found.bars, found.ticks, found.most) == ((), (), 0)


@pytest.mark.parametrize(
    ("count", "seconds", "form"),
    [(60, 1, "clock"), (60, 60, "time"), (48, 3600, "time"), (60, 86_400, "day"), (90, 7 * 86_400, "month")],
)
def test_ticks_are_few_inside_and_at_round_times(count: int, seconds: int, form: str) -> None:
    ticks = chart([1] * count, seconds).ticks
    assert 2 <= len(ticks) <= 7
    assert {tick.form for tick in ticks} == {form}
    assert all(5 <= float(tick.x.rstrip("%")) <= 95 for tick in ticks)
    if form in ("day", "month"):
        assert all(tick.at.hour == tick.at.minute == 0 for tick in ticks)


def test_lengths_in_words() -> None:
    words = [length_in_words(seconds) for seconds in (1, 30, 900, 3600, 7200, 86_400, 14 * 86_400)]
    assert words == ["1 second", "30 seconds", "15 minutes", "1 hour", "2 hours", "1 day", "2 weeks"]
