"""The page at / as an HTTP client sees it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from django.contrib.auth.models import Permission
from django.contrib.staticfiles import finders
from django.utils.html import escape

from realtime.console.monitor import Overview
from realtime.engine.describe.endpoints import describe_endpoints, policy_fields
from realtime.engine.protocol.close import CloseCode
from realtime.engine.testing import create_user, login_name
from realtime.routing import websocket_urlpatterns


class Elements(HTMLParser):
    """Start tags with their attributes, and the text of each script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.lasttag == "script":
            self.scripts[-1] += data


@pytest.fixture
def html(client):
    response = client.get("/")
    assert response.status_code == 200
    return response.content.decode()


def page_data(html: str) -> dict:
    return json.loads(
        re.search(r'<script id="realtime-data" type="application/json">(.*?)</script>', html, re.DOTALL)[1]
    )


def test_every_route_has_a_console(html):
    endpoints = describe_endpoints(websocket_urlpatterns)
    shown = [attributes["data-endpoint"] for tag, attributes in Elements(html).found if "data-endpoint" in attributes]
    assert shown == [endpoint.slug for endpoint in endpoints]
    assert list(page_data(html)["endpoints"]) == shown


def test_every_endpoint_says_what_it_does(html):
    for endpoint in describe_endpoints(websocket_urlpatterns):
        assert endpoint.summary, f"{endpoint.consumer.__name__} has no docstring"
        assert endpoint.path in html


def test_the_meaning_of_close_codes_is_the_catalogue(html):
    served = page_data(html)["closeCodes"]
    assert {int(code): (entry["name"], entry["meaning"], entry["advice"]) for code, entry in served.items()} == {
        code: (code.name, code.meaning, code.advice.value) for code in CloseCode
    }


def test_nothing_in_the_page_needs_inline_code_or_style(client):
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    for tag, attributes in Elements(response.content.decode()).found:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert "src" in attributes or attributes.get("type") == "application/json"


def test_everything_that_the_page_loads_is_served_by_this_site(html):
    loaded = [
        attributes.get("src") or attributes.get("href")
        for tag, attributes in Elements(html).found
        if tag in ("script", "link") and ("src" in attributes or "href" in attributes)
    ]
    assert loaded
    for url in loaded:
        if url == "/language/texts.js":
            continue
        assert url.startswith("/static/")
        assert finders.find(url.removeprefix("/static/")), url


@pytest.mark.django_db(transaction=True)
def test_every_link_to_this_site_leads_somewhere(client, html):
    targets = {attributes["href"] for tag, attributes in Elements(html).found if tag == "a"}
    ids = {attributes.get("id") for _, attributes in Elements(html).found}
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in ids
        else:
            assert client.get(target).status_code != 404, target


def test_every_field_has_a_label(html):
    open_labels = re.sub(r"<label[^>]*>.*?</label>", "", html, flags=re.DOTALL)
    fields = [attributes for tag, attributes in Elements(open_labels).found if tag in ("input", "select", "textarea")]
    assert [attributes["name"] for attributes in fields] == ["csrfmiddlewaretoken"]


def test_the_page_knows_whether_there_is_a_session(client, admin_client, html):
    assert page_data(html)["loggedIn"] is False
    logged_in = admin_client.get("/").content.decode()
    assert page_data(logged_in)["loggedIn"] is True
    assert "logged in as" in logged_in


@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_the_page_is_only_read(client, method):
    assert getattr(client, method)("/").status_code == 405


def test_a_user_logs_in_and_comes_back_to_where_they_were(client, db):
    create_user("ann", "correct horse")
    form = client.get("/login/?next=/%23tokens").content.decode()
    assert 'name="next" value="/#tokens"' in form
    response = client.post("/login/", {"username": login_name("ann"), "password": "correct horse", "next": "/#tokens"})
    assert (response.status_code, response.headers["Location"]) == (302, "/#tokens")


def test_a_wrong_password_is_shown_in_the_form(client, db):
    response = client.post("/login/", {"username": login_name("ann"), "password": "wrong"})
    assert response.status_code == 200
    assert 'role="alert"' in response.content.decode()


def test_the_login_does_not_lead_to_another_site(client, db):
    create_user("ann", "correct horse")
    credentials = {"username": login_name("ann"), "password": "correct horse", "next": "https://elsewhere.example/"}
    assert client.post("/login/", credentials).headers["Location"] == "/"


def test_the_reference_shows_every_endpoint_message_policy_field_and_close_code(client):
    html = client.get("/api/docs/").content.decode()
    ids = {attributes.get("id") for _, attributes in Elements(html).found}
    for endpoint in describe_endpoints(websocket_urlpatterns):
        assert endpoint.slug in ids
        for message in (*endpoint.received, *endpoint.sent):
            assert escape(message.text) in html
    assert {f"policy-{field}" for field in policy_fields()} <= ids
    assert {f"close-{code}" for code in CloseCode} <= ids
    links = {attributes["href"] for tag, attributes in Elements(html).found if tag == "a"}
    assert {link[1:] for link in links if link.startswith("#")} <= ids


def test_the_icon_is_found_where_a_page_does_not_name_it(client):
    address = client.get("/favicon.ico").headers["Location"]
    assert finders.find(address.removeprefix("/static/"))


def test_the_live_page_is_for_staff(client, admin_client):
    assert "/admin/login/" in client.get("/admin/live/").headers["Location"]
    html = admin_client.get("/admin/live/").content.decode()
    found = Elements(html).found
    assert not [tag for tag, attributes in found if "style" in attributes]
    charts = [attributes["data-chart"] for tag, attributes in found if "data-chart" in attributes]
    assert set(charts) <= set(Overview.__struct_fields__)
    assert "/admin/live/" in admin_client.get("/admin/connections/liveconnection/").content.decode()


@pytest.mark.django_db
def test_the_live_page_is_shown_and_offered_to_staff_who_may_view_connections(client):
    staff = create_user("staff", is_staff=True)
    client.force_login(staff)
    assert client.get("/admin/live/").status_code == 403
    assert "/admin/live/" not in client.get("/admin/").text
    staff.user_permissions.add(Permission.objects.get(codename="view_liveconnection"))
    assert client.get("/admin/live/").status_code == 200
    assert "/admin/live/" in client.get("/admin/").text


def test_the_live_page_has_numbers_before_the_first_message(admin_client):
    overview = page_data(admin_client.get("/admin/live/").text)["overview"]
    assert overview["type"] == "Overview"
    assert overview["processes"] >= 1


def test_the_index_of_the_admin_leads_to_the_live_page(admin_client):
    assert 'href="/admin/live/"' in admin_client.get("/admin/").text


def test_the_list_at_the_side_of_the_reference_names_the_endpoint_of_each_list(client):
    [contents] = re.findall(r'<nav class="contents".*?</nav>', client.get("/api/docs/").text, flags=re.DOTALL)
    lists = re.findall(r"<p>(.*?)</p>", contents)
    assert [entry for entry in lists if "lient" in entry] == [entry for entry in lists if "<code>/ws/" in entry]
