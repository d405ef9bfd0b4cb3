"""The log line of a refusal."""

from __future__ import annotations

import logging

import pytest

from realtime.engine.monitoring.refusals import log_refusal


def test_line_has_status_cause_origin_host_and_path_and_no_query(caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"origin", b"https://a.example"), (b"host", b"b.example"), (b"authorization", b"Bearer s3cret")]
    with caplog.at_level(logging.INFO, "realtime.wire"):
        log_refusal(403, "no", b"/ws?ticket=s3cret", headers)
    assert caplog.messages == ["handshake refused status=403 cause=no origin=https://a.example host=b.example path=/ws"]


def test_value_of_a_client_cannot_forge_a_line_or_a_field(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "realtime.wire"):
        log_refusal(403, "no", b"/", [(b"origin", b'x" status=200\r\nfake')])
    (line,) = caplog.messages
    assert "\n" not in line
    assert 'origin="x\\" status=200\\r\\nfake"' in line
