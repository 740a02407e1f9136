"""Asking a registry about schema ids beside other work: a few requests at once, whoever waits in turn."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from math import inf
from typing import Final, TypeAlias

from auditlog_schemas.errors import RegistryUnavailable
from auditlog_schemas.schema_ids import Answer, SchemaIds

LOOKUPS_AT_ONCE: Final = 8
PAUSE_SECONDS_MIN: Final = 0.2
PAUSE_SECONDS_MAX: Final = 5.0

Trouble: TypeAlias = Callable[[RegistryUnavailable, float], None]
"""Is told of every failed request, and for how many seconds those who wait for its id pause."""


class SchemaLookups:
    """Asks for schema ids in `LOOKUPS_AT_ONCE` daemon threads, which begin with the first question.

    Questions take turns, one id each, so that one for thousands of ids does not hold up one for a single id.
    An id is asked for once however many questions name it. A question whose id could not be had pauses, each
    time longer, and then tries one id at a time; others go on meanwhile. It ends when all its ids are
    answered, when its future is cancelled, or with `close`.

    Args:
        ids: what is known, and the registry behind it.
        trouble: called in one of the threads for each failed request.
    """

    def __init__(self, ids: SchemaIds, trouble: Trouble) -> None:
        self._ids = ids
        self._trouble = trouble
        self._questions: deque[_Question] = deque()
        self._in_flight: dict[int, list[_Question]] = {}
        self._changed = threading.Condition()
        self._running = False
        self._closed = False

    def ask(self, schema_ids: Iterable[int]) -> Future[dict[int, Answer]]:
        """Return the answers to be: one for each id, once all are there. Waits for nothing.

        Cancel the future when nobody needs it any more; what is under way for it then comes to nothing.
        """
        question = _Question()
        for schema_id in dict.fromkeys(schema_ids):
            known = self._ids.known(schema_id)
            if known is None:
                question.open.append(schema_id)
            else:
                question.answers[schema_id] = known
        if not question.open:
            question.future.set_result(question.answers)
            return question.future
        with self._changed:
            if self._closed:
                question.future.cancel()
                return question.future
            self._questions.append(question)
            self._changed.notify_all()
            if not self._running:
                self._running = True
                for number in range(LOOKUPS_AT_ONCE):
                    threading.Thread(target=self._run, name=f"schemas-{number}", daemon=True).start()
        return question.future

    def close(self) -> None:
        """Cancel what is not answered; the threads end after their requests. Waits for nothing."""
        with self._changed:
            self._closed = True
            questions = [*self._questions]
            self._questions.clear()
            self._changed.notify_all()
        for question in questions:
            question.future.cancel()

    def _run(self) -> None:
        while (schema_id := self._next()) is not None:
            try:
                answer = self._ids.ask(schema_id)
            except RegistryUnavailable as error:
                pause_seconds = self._failed(schema_id)
                if not self._closed:
                    self._trouble(error, pause_seconds)
            except Exception as error:
                self._end(schema_id, error)
            else:
                self._end(schema_id, answer)

    def _next(self) -> int | None:
        """Wait for the id whose turn it is; None when nothing is asked for any more."""
        with self._changed:
            while not self._closed:
                schema_id, seconds = self._choose()
                if schema_id is not None:
                    return schema_id
                self._changed.wait(seconds)
            return None

    def _choose(self) -> tuple[int | None, float | None]:
        """Return the id whose turn it is, or None and in how many seconds there may be one."""
        now, resumed = time.monotonic(), inf
        for _ in range(len(self._questions)):
            question = self._questions.popleft()
            if question.future.done():
                continue
            self._questions.append(question)
            if question.pause_seconds and question.in_flight:
                continue
            if now < question.paused_until:
                resumed = min(resumed, question.paused_until)
                continue
            while question.open:
                schema_id = question.open.popleft()
                question.in_flight += 1
                waiting = self._in_flight.setdefault(schema_id, [])
                waiting.append(question)
                if len(waiting) == 1:
                    return schema_id, None
        return None, None if resumed == inf else resumed - now

    def _end(self, schema_id: int, found: Answer | Exception) -> None:
        """Note what was found, and end the questions that it completes."""
        with self._changed:
            taken = self._taken(schema_id)
            for question in taken:
                question.add(schema_id, found)
            ended = [question for question in taken if question.ends()]
            self._changed.notify_all()
        for question in ended:
            if question.future.set_running_or_notify_cancel():
                if question.error is None:
                    question.future.set_result(question.answers)
                else:
                    question.future.set_exception(question.error)

    def _taken(self, schema_id: int) -> list[_Question]:
        questions = self._in_flight.pop(schema_id)
        for question in questions:
            question.in_flight -= 1
        return questions

    def _failed(self, schema_id: int) -> float:
        """Let those who wait for an id pause, and try it last; return for how many seconds."""
        with self._changed:
            now, seconds = time.monotonic(), 0.0
            for question in self._taken(schema_id):
                question.open.append(schema_id)
                # Requests that failed together count as one.
                if question.paused_until <= now:
                    question.pause(now)
                seconds = max(seconds, question.paused_until - now)
            self._changed.notify_all()
            return seconds


class _Question:
    """Ids that somebody waits for. Guarded by the lock of `SchemaLookups`.

    Attributes:
        future: the answers to be.
        answers: those that are there.
        open: ids that are neither answered nor being asked for.
        in_flight: how many of its ids are being asked for.
        pause_seconds: how long it paused last; 0 while nothing fails.
        paused_until: on the monotonic clock.
        error: what ended it before its time.
    """

    def __init__(self) -> None:
        self.future: Future[dict[int, Answer]] = Future()
        self.answers: dict[int, Answer] = {}
        self.open: deque[int] = deque()
        self.in_flight = 0
        self.pause_seconds = 0.0
        self.paused_until = 0.0
        self.error: Exception | None = None
        self._ended = False

    def pause(self, now: float) -> None:
        """Pause for longer than the last time."""
        self.pause_seconds = min(max(2 * self.pause_seconds, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
        self.paused_until = now + self.pause_seconds * random.uniform(0.7, 1.0)  # noqa: S311 - spreads them

    def add(self, schema_id: int, found: Answer | Exception) -> None:
        """Take an answer, and with it go on at full speed; or an error, and with it ask for nothing more."""
        self.pause_seconds = self.paused_until = 0.0
        if isinstance(found, Exception):
            self.error = found
            self.open.clear()
        else:
            self.answers[schema_id] = found

    def ends(self) -> bool:
        """Tell, once, whether nothing is missing any more."""
        ends = not self._ended and not self.open and not self.in_flight
        self._ended = self._ended or ends
        return ends
