"""Every text that a person sees can be translated, and is: the site speaks German."""

from __future__ import annotations

import gettext
import html.parser
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.template.base import BLOCK_TAG_END, BLOCK_TAG_START, Lexer, TokenType
from django.test import Client

from tests.translations import ROOT, catalogues, folders, marked, mo_bytes, read_po, sources

LANGUAGES = [code for code, _ in settings.LANGUAGES if code != settings.LANGUAGE_CODE]
PLACEHOLDER = re.compile(r"%\(\w+\)s|%s|<[^>]+>|href=\S+")
#: Attributes that a person sees or hears.
SPOKEN = {"alt", "aria-label", "placeholder", "title"}
#: What needs no translation: code, drawings, scripts.
SILENT = {"code", "pre", "script", "style", "svg"}

TEMPLATES = [path for folder in folders() for path in sources(folder, "django") if path.suffix == ".html"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("domain", ["django", "djangojs"])
@pytest.mark.parametrize("folder", folders(), ids=name)
def test_every_marked_text_is_translated(folder, domain, language):
    texts = marked(folder, domain)
    path = folder / "locale" / language / "LC_MESSAGES" / f"{domain}.po"
    translations = read_po(path) if path.exists() else {("",): ("",)}
    assert texts == translations.keys() - {("",)}
    for text in texts:
        for one, other in zip(text, translations[text], strict=True):
            assert other
            assert sorted(PLACEHOLDER.findall(one)) == sorted(PLACEHOLDER.findall(other))


@pytest.mark.parametrize("path", catalogues(), ids=name)
def test_what_django_reads_is_what_stands_in_the_source(path):
    """``python -m tests.translations`` makes it so."""
    translations = read_po(path)
    assert "#, fuzzy" not in path.read_text()
    assert path.with_suffix(".mo").read_bytes() == mo_bytes(translations)
    with path.with_suffix(".mo").open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    for text, translation in translations.items():
        if text == ("",):
            continue
        for count, one in enumerate(translation, 1):
            assert (catalogue.ngettext(*text, count) if len(text) > 1 else catalogue.gettext(*text)) == one


class Unmarked(html.parser.HTMLParser):
    """Collects the text of a page that no template tag has written."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self._silent = 0
        texts, is_marked = [], False
        for token in Lexer(source).tokenize():
            if token.token_type is TokenType.BLOCK:
                # The name of a class is no text.
                is_marked = token.contents.startswith(("blocktranslate", "block body_class", "plural"))
            elif token.token_type is TokenType.TEXT and not is_marked:
                texts.append(token.contents)
        self.feed("".join(texts))

    def handle_starttag(self, tag, attributes):
        self._silent += tag in SILENT
        for attribute, value in attributes:
            if attribute in SPOKEN:
                self._note(value or "")

    def handle_endtag(self, tag):
        self._silent -= tag in SILENT

    def handle_data(self, data):
        if not self._silent:
            self._note(data)

    def _note(self, text):
        if re.search(r"[^\W\d_]", text) and not text.strip().startswith("/"):
            self.found.append(text.strip())


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_a_template_has_no_text_that_is_not_marked(path):
    assert Unmarked(path.read_text()).found == []


def tag(contents: str) -> str:
    """Return a template tag. Not written out: ``startproject`` would render it."""
    return f"{BLOCK_TAG_START} {contents} {BLOCK_TAG_END}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("<p>Hello</p>", ["Hello"]),
        ('<input placeholder="Name">', ["Name"]),
        (f"<p>{tag('translate name')}, <code>x</code> · 7</p>", []),
        (f"<p>{tag('blocktranslate')}Hello{tag('endblocktranslate')} you</p>", ["you"]),
        (f"<p>{tag('blocktranslate count n=n')}One{tag('plural')}Many{tag('endblocktranslate')}</p>", []),
    ],
)
def test_the_search_for_unmarked_text_finds_it(source, found):
    assert Unmarked(source).found == found


STYLES = [*ROOT.glob("static/*/*.css"), *ROOT.glob("realtime/*/static/*/*.css")]
#: What stands left in English and right in Arabic has a logical name: margin-inline-start.
PHYSICAL = re.compile(
    r"[\w-]*(?:margin|padding|border)-(?:left|right)\b[^;]*"
    r"|(?:text-align|float|clear|justify-content)\s*:\s*(?:left|right)\b"
    r"|(?<![\w-])(?:left|right)\s*:(?!\s*50%)[^;]*"
)


@pytest.mark.parametrize("path", STYLES, ids=name)
def test_styles_have_no_left_and_no_right(path):
    assert PHYSICAL.findall(path.read_text()) == []


@pytest.mark.django_db
def test_a_page_comes_in_the_language_that_the_browser_asks_for(client: Client) -> None:
    page = client.get("/login/", headers={"accept-language": "de-CH,en;q=0.5"})
    assert '<html lang="de" dir="ltr">' in page.text
    assert "Anmelden" in page.text
    assert "Anmelden" not in client.get("/login/", headers={"accept-language": "fr"}).text


@pytest.mark.django_db
def test_the_switch_at_the_foot_changes_the_language_and_leads_back(client: Client) -> None:
    answer = client.post("/language/", {"language": "de"}, headers={"referer": "http://testserver/login/?next=/"})
    assert answer.headers["Location"] == "http://testserver/login/?next=/"
    page = client.get("/login/")
    assert "Anmelden" in page.text
    assert 'value="en" lang="en">English' in page.text


@pytest.mark.django_db
def test_a_page_sets_no_cookie_for_the_switch(client: Client) -> None:
    assert not client.get("/nowhere/").cookies


def test_scripts_get_the_texts_of_the_apps_and_nobody_elses(client: Client) -> None:
    texts = client.get("/language/texts.js", headers={"accept-language": "de"}).text
    assert "gettext" in texts
    assert "Verf\\u00fcgbare" not in texts  # of Django's admin
