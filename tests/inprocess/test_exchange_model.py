"""Any order of what clients, endpoints and time may do: retries, hedges, queues, stale connections, early answers,
aborts, pauses.  `tests.inprocess.soak` takes the same steps by chance, as many as wanted."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.inprocess.model import Model
from tests.inprocess.soak import soak

CHANCE = st.randoms(use_true_random=False)


class Exchanges(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    @rule(random=CHANCE)
    def a_client_connects(self, random: Random) -> None:
        self.model.connect(random)
        self.model.check()

    @rule(random=CHANCE)
    def a_client_asks(self, random: Random) -> None:
        self.model.connect(random)
        self.model.ask(random)
        self.model.check()

    @rule(random=CHANCE)
    def a_client_does_something_else(self, random: Random) -> None:
        model = self.model
        random.choice((model.send_more, model.leave, model.cut, model.stop_reading, model.read))(random)
        model.check()

    @rule(random=CHANCE)
    def an_endpoint_accepts(self, random: Random) -> None:
        self.model.accept(random)
        self.model.check()

    @rule(random=CHANCE)
    def an_endpoint_answers(self, random: Random) -> None:
        model = self.model
        random.choice((model.answer, model.answer_more, model.answer_early, model.say_interim))(random)
        model.check()

    @rule(random=CHANCE)
    def an_endpoint_fails(self, random: Random) -> None:
        model = self.model
        random.choice((model.refuse, model.say_nonsense, model.hang_up))(random)
        model.check()

    @rule(random=CHANCE)
    def time_passes(self, random: Random) -> None:
        self.model.wait(random)
        self.model.check()

    def teardown(self) -> None:
        self.model.close()


TestExchanges = Exchanges.TestCase
TestExchanges.settings = settings(
    max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_thousands_of_steps_by_chance() -> None:
    assert soak(4_000, seed=1).total() >= 4_000
