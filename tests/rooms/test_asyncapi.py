"""The AsyncAPI document: valid and complete."""

from __future__ import annotations

import copy
import json

import jsonschema
import pytest
from django.core.management import CommandError, call_command

from realtime.engine.describe.asyncapi import asyncapi_document
from realtime.engine.describe.endpoints import describe_endpoints
from realtime.engine.describe.generate import client_files
from realtime.engine.describe.schemas import members_of
from realtime.engine.protocol.close import CloseCode
from realtime.rooms.protocol import ClientMessage, decode
from realtime.routing import websocket_urlpatterns

#: The package that publishes the specification's JSON schema.
SPECIFICATION = "@asyncapi/specs@6.11.1"
SCHEMA = "schemas/3.0.0.json"


@pytest.fixture(scope="module")
def document():
    return asyncapi_document(describe_endpoints(websocket_urlpatterns), host="example.com", protocol="wss")


@pytest.fixture
def published_schema(npm_package):
    """The specification's JSON schema, as it is published."""
    return json.loads((npm_package(SPECIFICATION) / SCHEMA).read_text())


def test_the_document_is_valid_by_the_published_schema(document, published_schema):
    validator = jsonschema.Draft7Validator(published_schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    broken = copy.deepcopy(document)
    broken["channels"]["ws"]["address"] = 7
    assert not validator.is_valid(broken)


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references(item)


def test_every_reference_leads_to_something(document):
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        assert target


def test_every_route_is_a_channel_with_its_policy(document):
    endpoints = describe_endpoints(websocket_urlpatterns)
    assert [channel["address"] for channel in document["channels"].values()] == [
        endpoint.path for endpoint in endpoints
    ]
    policy = document["channels"]["wsPolicy"]["x-policy"]
    assert (policy["max_frame_size"], policy["subprotocols"]) == (256 * 1024, ("graphql-ws", "graphql-transport-ws"))


def test_query_parameters_are_a_binding(document):
    query = document["channels"]["wsConnect"]["bindings"]["ws"]["query"]
    assert query["required"] == ["user_id", "name"]
    assert query["properties"]["user_id"]["minimum"] == 0


def names_of(references):
    return [reference["$ref"].rpartition("/")[2] for reference in references]


def test_what_a_client_sends_is_received_and_what_the_server_sends_is_sent(document):
    operations = document["operations"]
    of_rooms = [each for each in operations.values() if each["channel"]["$ref"] == "#/channels/wsRooms"]
    received = [name for each in of_rooms if each["action"] == "receive" for name in names_of(each["messages"])]
    assert received == [struct.__name__ for struct in members_of(ClientMessage)]
    sent = names_of(operations["sendWsRooms"]["messages"])
    assert "Joined" in sent
    assert "Join" not in sent


@pytest.mark.parametrize(("message", "reply"), [("Post", "Ack"), ("Join", "Joined"), ("History", "Page")])
def test_a_message_that_is_answered_is_an_operation_with_its_reply(document, message, reply):
    operation = document["operations"][f"receiveWsRooms{message}"]
    assert names_of(operation["messages"]) == [message]
    assert operation["reply"]["channel"] == operation["channel"]
    assert names_of(operation["reply"]["messages"]) == [reply, "Error"]


def test_an_endpoint_that_asks_for_a_user_says_how(document):
    schemes = document["components"]["securitySchemes"]
    security = document["operations"]["receiveWsAuth"]["security"]
    assert [item["$ref"].rpartition("/")[2] for item in security] == list(schemes)
    assert "security" not in document["operations"]["receiveWs"]


def test_the_examples_of_client_messages_are_accepted_by_the_server(document):
    messages = document["components"]["messages"]
    for struct in members_of(ClientMessage):
        [example] = messages[struct.__name__]["examples"]
        assert isinstance(decode(json.dumps(example["payload"])), struct)


def test_every_example_fits_its_schema(document):
    for message in document["components"]["messages"].values():
        schema = {**message["payload"], "components": document["components"]}
        for example in message.get("examples", ()):
            jsonschema.validate(example["payload"], schema)


def test_every_close_code_is_listed_with_its_advice(document):
    listed = {entry["code"]: entry["advice"] for entry in document["x-close-codes"]}
    assert listed == {code: code.advice.value for code in CloseCode}


def test_the_view_speaks_for_the_host_that_was_asked(client, settings):
    settings.ALLOWED_HOSTS = ["example.com"]
    answer = client.get("/asyncapi.json", HTTP_HOST="example.com", secure=True)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["servers"]["this"] == {"host": "example.com", "protocol": "wss"}


@pytest.mark.parametrize("name", ["rooms.js", "rooms.d.ts"])
def test_the_committed_client_of_the_rooms_is_up_to_date(name, settings):
    files = client_files("typescript", describe_endpoints(websocket_urlpatterns), served=True)
    committed = settings.BASE_DIR / "static" / "client" / name
    assert committed.read_text() == files[name], "run 'manage.py generateclient typescript'"


def test_a_stale_file_fails_the_check_and_is_not_touched(tmp_path):
    path = tmp_path / "generated"
    with pytest.raises(CommandError, match="out of date"):
        call_command("asyncapi", "--check", "--output", path)
    call_command("asyncapi", "--output", path, verbosity=0)
    call_command("asyncapi", "--check", "--output", path)
    path.write_text(path.read_text().replace("room", "rume"))
    stale = path.read_text()
    with pytest.raises(CommandError, match="out of date"):
        call_command("asyncapi", "--check", "--output", path)
    assert path.read_text() == stale
