"""A name of Twisted or Daphne is renamed: connections are served all the same, or end at once, and the log says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realtime.engine.testing import PROJECT_ROOT

#: Loads one of Twisted's modules with another name in the place of one of its own, before anything else is loaded.
RENAME = """
import importlib.util, os, sys

def load(module, old, new):
    spec = importlib.util.find_spec(module)
    source = spec.loader.get_source(module)
    assert old in source
    loaded = sys.modules[module] = importlib.util.module_from_spec(spec)
    exec(compile(source.replace(old, new), spec.origin, "exec"), loaded.__dict__)
    package, _, name = module.rpartition(".")
    setattr(sys.modules[package], name, loaded)

if "daphne" in sys.orig_argv:
    load(*os.environ["WIRE_TEST_RENAME"].split())
"""

#: An option that is read when a connection is taken over, and nowhere else in this test.
RENAMED_OPTION = "daphne.server self.websocket_connect_timeout self.renamed"


@pytest.mark.parametrize(
    ("module", "name", "lines"),
    [("twisted.internet.abstract", "_tempDataBuffer", 1), ("twisted.web.http", "_networkProducer", 0)],
)
def test_connections_are_served_when_a_private_name_is_renamed(
    serve: Any, tmp_path: Path, module: str, name: str, lines: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(RENAME)
    env = {"PYTHONPATH": f"{tmp_path}:{PROJECT_ROOT}", "WIRE_TEST_RENAME": f"{module} {name} _renamed"}
    with serve("asyncio", env=env) as server:
        for _ in range(2):
            with server.connect("/echo", open_timeout=5) as client:
                client.send("still here")
                assert client.recv() == "still here"
        status, _, body = server.handshake(headers={"Sec-WebSocket-Version": "12"})
        assert (status, b"Sec-WebSocket-Version: 13" in body) == (400, True)
        assert server.process.log.count("served on Twisted's transport") == lines


def test_connection_that_cannot_be_taken_over_is_ended_and_logged(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(RENAME)
    env = {"PYTHONPATH": f"{tmp_path}:{PROJECT_ROOT}", "WIRE_TEST_RENAME": RENAMED_OPTION}
    with serve("asyncio", env=env) as server:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                server.handshake()
        assert server.process.log.count("A connection could not be taken over from Twisted") == 2
        assert server.get("/statistics")["sessions"] == 0
