"""The names and addresses of this machine: the allowed hosts of a development server that others may reach."""

from __future__ import annotations

import contextlib
import ipaddress
import shutil
import socket
import subprocess

__all__ = ["hosts_of_this_machine"]

LOOPBACK = ["localhost", ".localhost", "127.0.0.1", "[::1]"]

#: Addresses of documentation networks. A UDP socket "connected" there sends nothing, and has this machine's address.
ELSEWHERE = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]


def hosts_of_this_machine(served_on: str) -> list[str]:
    """Return the hosts for ``ALLOWED_HOSTS``, without a name server.

    Args:
        served_on: the host that the server listens on.
    """
    name = socket.gethostname().lower()
    names = [name, name.partition(".")[0] + ".local"]
    addresses = {_as_host(address) for address in [*_addresses(), served_on]}
    return [*LOOPBACK, *names, *sorted(addresses - {"0.0.0.0", "[::]"} - set(LOOPBACK))]  # noqa: S104


def _addresses() -> list[str]:
    found = []
    for family, elsewhere in ELSEWHERE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            found.append(probe.getsockname()[0])
    program = shutil.which("hostname")
    if program is not None:  # that of Linux lists every interface
        done = subprocess.run([program, "-I"], capture_output=True, text=True, check=False)  # noqa: S603
        found += done.stdout.split() if done.returncode == 0 else []
    return found


def _as_host(address: str) -> str:
    """Return an address as it stands in a ``Host`` header."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(address).version == 6:
            return f"[{address}]"
    return address.lower()
