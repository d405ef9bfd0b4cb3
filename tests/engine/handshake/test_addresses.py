from __future__ import annotations

from typing import Any

import pytest

from realtime.engine.handshake.addresses import client_address, limited_network, network_of

#: id, number of trusted proxies, peer, X-Forwarded-For, address of the client
CLIENTS = [
    ("no proxy", 0, "203.0.113.1", None, "203.0.113.1"),
    ("a header that nobody trusts", 0, "203.0.113.1", "198.51.100.1", "203.0.113.1"),
    ("one proxy", 1, "10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("one proxy, a forged entry", 1, "10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
    ("two proxies", 2, "10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
    ("fewer entries than proxies", 2, "10.0.0.1", "198.51.100.1", "198.51.100.1"),
    ("a port", 1, "10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
    ("IPv6 with a port", 1, "10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
    ("IPv4 in IPv6", 1, "10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
    ("garbage", 1, "10.0.0.1", "unknown", "10.0.0.1"),
    ("a UNIX socket", 0, None, None, None),
    ("a UNIX socket behind a proxy", 1, None, "198.51.100.1", "198.51.100.1"),
]


@pytest.mark.parametrize(
    ("proxies", "peer", "forwarded", "address"), [row[1:] for row in CLIENTS], ids=[row[0] for row in CLIENTS]
)
def test_the_client_address_is_the_one_that_the_outermost_trusted_proxy_saw(
    settings: Any, proxies: int, peer: str | None, forwarded: str | None, address: str | None
) -> None:
    settings.REALTIME_TRUSTED_PROXIES = proxies
    headers = [] if forwarded is None else [(b"x-forwarded-for", forwarded.encode())]
    scope = {"client": None if peer is None else (peer, 4711), "headers": headers}
    assert client_address(scope) == address


def test_ipv6_address_counts_as_its_network_of_64_bits() -> None:
    assert network_of("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert network_of("198.51.100.1") == "198.51.100.1"


@pytest.mark.parametrize("address", [None, "127.0.0.1", "::1"])
def test_this_machine_has_no_limits(address: str | None) -> None:
    assert limited_network(address) is None
