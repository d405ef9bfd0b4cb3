from __future__ import annotations

import json

from realtime.engine.protocol.problems import problem_response


def test_a_problem_has_title_status_and_detail() -> None:
    headers, body = problem_response(429, "Too many.", [("Retry-After", "7")])
    assert json.loads(body) == {"title": "Too Many Requests", "status": 429, "detail": "Too many."}
    fields = dict(headers)
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"content-length"] == str(len(body)).encode()
    assert fields[b"retry-after"] == b"7"
    assert fields[b"cache-control"] == b"no-store"
