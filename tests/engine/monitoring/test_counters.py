from __future__ import annotations

import pytest

from realtime.engine.monitoring.counters import Histogram, Traffic


def test_observations_fall_into_the_bucket_whose_bound_they_do_not_pass() -> None:
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 1.5, 2.5):
        histogram.observe(seconds)
    assert histogram.counts == [2, 1, 2]
    assert histogram.total == pytest.approx(4.65)


def test_a_connection_is_counted_while_it_is_open() -> None:
    traffic = Traffic("ws")
    traffic.opened()
    traffic.opened()
    traffic.closed(1000, "client")
    assert traffic.connections == 1
    assert traffic.handshakes == {"accepted": 2}
    assert traffic.closes == {("1000", "client"): 1}


def test_codes_that_a_client_may_invent_share_a_label() -> None:
    traffic = Traffic("ws")
    for code in range(3000, 5000):
        traffic.closed(code, "client")
    assert {code for code, _ in traffic.closes} == {"3000", "3003", "3008", "3xxx", "4xxx"}
