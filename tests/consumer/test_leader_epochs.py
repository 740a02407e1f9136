"""Which leader appended what lies before an offset."""

from __future__ import annotations

from auditlog_consumer.fetch.leader_epochs import LeaderEpochs


def test_nothing_is_known_at_first() -> None:
    epochs = LeaderEpochs()
    assert epochs.before(0, 5) == -1
    epochs.note_start(0, 5)
    assert epochs.before(0, 5) == -1


def test_what_was_read_tells_for_every_offset_up_to_its_end() -> None:
    epochs = LeaderEpochs()
    epochs.note_start(0, 0)
    epochs.note_read(0, [(0, 3, 3), (4, 8, 3), (9, 11, 5)])
    epochs.note_read(0, [(12, 19, 5), (20, 25, 6)])
    offsets = (0, 1, 9, 10, 20, 21, 26, 27)
    assert [epochs.before(0, offset) for offset in offsets] == [-1, 3, 3, 5, 5, 6, 6, -1]
    assert epochs.before(1, 9) == -1


def test_what_was_committed_tells_for_exactly_its_offsets() -> None:
    """A smaller epoch than the right one looks like a log that was cut."""
    epochs = LeaderEpochs()
    epochs.note_committed(0, {7: 3, 12: 4})
    assert [epochs.before(0, offset) for offset in (6, 7, 8, 12, 13)] == [-1, 3, -1, 4, -1]
    epochs.note_start(0, 12)
    assert epochs.before(0, 12) == 4
    epochs.note_read(0, [(12, 12, 9)])
    assert [epochs.before(0, offset) for offset in (12, 13)] == [4, 9]


def test_what_another_owner_read_meanwhile_replaces_what_we_read() -> None:
    epochs = LeaderEpochs()
    epochs.note_start(0, 0)
    epochs.note_read(0, [(0, 9, 3)])
    epochs.note_committed(0, {50: 8})
    assert [epochs.before(0, offset) for offset in (10, 50, 51)] == [-1, 8, -1]


def test_going_back_forgets_what_is_read_again() -> None:
    epochs = LeaderEpochs()
    epochs.note_start(0, 0)
    epochs.note_read(0, [(0, 9, 3), (10, 14, 4)])
    epochs.note_start(0, 6)
    assert epochs.before(0, 6) == 3
    epochs.note_read(0, [(4, 9, 3), (10, 14, 7)])
    assert epochs.before(0, 11) == 7
