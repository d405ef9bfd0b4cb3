from __future__ import annotations


def test_the_document_names_the_host_and_the_routes_of_the_request(client, settings):
    settings.ALLOWED_HOSTS = ["example.com"]
    answer = client.get("/asyncapi.json", HTTP_HOST="example.com", secure=True)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["servers"]["this"] == {"host": "example.com", "protocol": "wss"}
    assert answer.json()["channels"]
