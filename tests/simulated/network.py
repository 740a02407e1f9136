"""Requests from simulated processes to simulated servers: they take time, get lost, and come late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auditlog_schemas.errors import TransientError
from simulated.kernel import Kernel, Process
from simulated.scenario import Scenario
from simulated.weather import Weather

Answer = Callable[[Any], None]
"""Sends back a value, or an exception to be raised at the client."""
Serve = Callable[[Answer], None]
"""What a server does with a request when it arrives."""


class Server:
    """One server: up or down. What was under way when it went down is given up.

    Attributes:
        unavailable: what its clients raise when it does not answer.
    """

    def __init__(self, name: str, unavailable: type[TransientError]) -> None:
        self.name = name
        self.unavailable = unavailable
        self.up = True
        self.incarnation = 0

    def go_down(self) -> None:
        """Stop serving; answers under way are lost."""
        self.up = False
        self.incarnation += 1

    def come_up(self) -> None:
        """Serve again."""
        self.up = True


class Network:
    """Carries requests, and is where a process's steps are delayed, paused and cut short.

    Args:
        kernel: the scheduler.
        weather: what goes wrong.
        scenario: tells how long requests may take.
    """

    def __init__(self, kernel: Kernel, weather: Weather, scenario: Scenario) -> None:
        self.kernel = kernel
        self.weather = weather
        self.scenario = scenario
        self.cut_until: dict[Process, float] = {}
        self.crash: Callable[[Process], None] = kernel.kill
        self.stop: Callable[[Process], None] = kernel.kill
        self.expire: Callable[[], None] = lambda: None

    def step(self, process: Process, what: str) -> None:
        """Be between two steps of a process: anything may happen to it here, and time passes."""
        process.require_alive()
        kernel, weather, draw = self.kernel, self.weather, self.kernel.random
        if kernel.traced:
            kernel.trace(f"{process.name}/{kernel.current.name if kernel.current else 'test'}", what)
        if what.startswith(weather.at):
            self._befall(process)
        if weather.slow and draw.random() < weather.slow:
            kernel.sleep(process, draw.random() * draw.choice((0.1, 1.0, 4.0)))
        elif process.paused_until > kernel.now or draw.random() < 0.5:
            kernel.sleep(process, draw.random() * 0.005)

    def _befall(self, process: Process) -> None:
        kernel, weather, draw = self.kernel, self.weather, self.kernel.random
        if weather.crash and draw.random() < weather.crash:
            kernel.at(draw.choice((0.0, 0.01, 0.1)) * draw.random(), lambda: self.crash(process))
        if weather.stop and draw.random() < weather.stop:
            kernel.at(draw.random() * 0.1, lambda: self.stop(process))
        if weather.pause and draw.random() < weather.pause:
            away_seconds = self._away_seconds()
            kernel.pause(process, away_seconds)
            if weather.expiring and draw.random() < weather.expiring:
                kernel.at(draw.random() * away_seconds, self.expire)
        if weather.cut and draw.random() < weather.cut:
            self.cut_until[process] = kernel.now + self._away_seconds()
            kernel.trace(process.name, f"CUT OFF from Kafka until {self.cut_until[process]:.2f}")

    def request(self, process: Process, server: Server, what: str, serve: Serve) -> Any:
        """Send a request and return its answer.

        Raises:
            TransientError: the server's kind, when no answer came: the request may have been carried out,
                may still be, or never arrived.
            Exception: what the server answered.
        """
        self.step(process, what)
        answers: list[Any] = []

        def deliver(result: Any) -> None:
            answers.append(result)
            process.notify()

        self.send(process, server, what, serve, deliver)
        process.wait(lambda: bool(answers), self.scenario.answer_seconds_max + 1)
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    def send(self, process: Process, server: Server, what: str, serve: Serve, deliver: Answer) -> None:
        """Send a request; `deliver` gets its answer or an exception, once, in bounded time."""
        kernel, weather, draw = self.kernel, self.weather, self.kernel.random
        delivered = False
        incarnation = server.incarnation
        is_answer_lost = bool(weather.lost_answer) and draw.random() < weather.lost_answer

        def deliver_once(result: Any) -> None:
            nonlocal delivered
            if not delivered:
                delivered = True
                if isinstance(result, Exception) and kernel.traced:
                    kernel.trace(process.name, f"{what}: {result!r}")
                deliver(result)

        def answer(result: Any) -> None:
            if is_answer_lost:
                if draw.random() < 0.5:
                    closed = server.unavailable(f"{server.name} closed the connection")
                    kernel.at(0.05, lambda: deliver_once(closed))
            elif server.incarnation == incarnation:
                kernel.at(self._travel_seconds(), lambda: deliver_once(result))

        def arrive() -> None:
            nonlocal incarnation
            if server.up and not self._is_cut(process, server):
                incarnation = server.incarnation
                serve(answer)
            else:
                deliver_once(server.unavailable(f"{server.name} does not answer"))

        if not (weather.lost_request and draw.random() < weather.lost_request):
            is_late = weather.late and draw.random() < weather.late
            late_seconds = draw.random() * self.scenario.late_seconds_max
            kernel.at(late_seconds if is_late else self._travel_seconds(), arrive)
        patience = self.scenario.answer_seconds_max
        silence = server.unavailable(f"{server.name}: no answer within {patience} s")
        kernel.at(patience, lambda: deliver_once(silence))

    def is_cut(self, process: Process) -> bool:
        """Tell whether a process has lost Kafka for now."""
        return self.cut_until.get(process, 0.0) > self.kernel.now

    def _is_cut(self, process: Process, server: Server) -> bool:
        return server.name == "Kafka" and self.is_cut(process)

    def _travel_seconds(self) -> float:
        draw = self.kernel.random
        if self.weather.slow and draw.random() < self.weather.slow:
            return draw.random() * draw.choice((0.1, 1.0, 2.5))
        return draw.random() * 0.004

    def _away_seconds(self) -> float:
        draw = self.kernel.random
        return draw.random() * self.scenario.session_seconds * draw.choice((0.2, 1.0, 2.5, 5.0))
