"""Catalogues of translations: what stands in the sources, in a ``.po`` and in its ``.mo``.

``python -m tests.translations`` writes each ``.mo`` anew, as ``manage.py compilemessages`` does where GNU gettext is
installed.
"""

from __future__ import annotations

import ast
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent

#: A text, or the singular and the plural of one.
Text = tuple[str, ...]

#: Functions that mark a text in Python, and how many of their arguments are texts.
MARKERS = {"_": 1, "gettext": 1, "gettext_lazy": 1, "gettext_noop": 1, "ngettext": 2}

STRING = r"""("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
CALL = re.compile(rf"\b(?:n?gettext|_)\(\s*u?{STRING}(?:,\s*u?{STRING})?")
ENTRY = re.compile(r'^(msgid|msgid_plural|msgstr(?:\[\d\])?) ((?:".*"\n?)+)', re.MULTILINE)


def folders() -> list[Path]:
    """Return the folders that have translations: an app's, and the one of the site's templates."""
    return sorted(path.parent for path in [*ROOT.glob("realtime/*/locale"), *ROOT.glob("templates/locale")])


def catalogues() -> list[Path]:
    """Return every ``.po``."""
    return sorted(path for folder in folders() for path in folder.glob("locale/*/LC_MESSAGES/*.po"))


def read_po(path: Path) -> dict[Text, Text]:
    """Return the translations of a ``.po``, with its header under the empty text."""
    found: dict[Text, Text] = {}
    original: list[str] = []
    for keyword, quoted in ENTRY.findall(path.read_text()):
        text = "".join(ast.literal_eval(line) for line in quoted.splitlines())
        if keyword == "msgid":
            original = [text]
        elif keyword == "msgid_plural":
            original.append(text)
        else:
            found[tuple(original)] = (*found.get(tuple(original), ()), text)
    return found


def mo_bytes(translations: dict[Text, Text]) -> bytes:
    """Return the content of a ``.mo`` (GNU gettext manual, "The Format of GNU MO Files")."""
    pairs = sorted(("\0".join(text).encode(), "\0".join(other).encode()) for text, other in translations.items())
    tables, strings, offset = [b"", b""], b"", 28 + 16 * len(pairs)
    for column in (0, 1):
        for pair in pairs:
            tables[column] += struct.pack("<II", len(pair[column]), offset + len(strings))
            strings += pair[column] + b"\0"
    start = (0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, offset)
    return struct.pack("<7I", *start) + tables[0] + tables[1] + strings


def marked(folder: Path, domain: str) -> set[Text]:
    """Return the texts that a folder marks for ``django`` (templates, Python) or ``djangojs`` (scripts)."""
    return {text for path in sources(folder, domain) for text in _texts(path)}


def sources(folder: Path, domain: str) -> Iterator[Path]:
    """Yield the files of a folder that may have texts of a domain."""
    suffixes = (".js",) if domain == "djangojs" else (".html", ".txt", ".py")
    yield from (path for path in sorted(folder.rglob("*")) if path.suffix in suffixes and "locale" not in path.parts)


def _texts(path: Path) -> Iterator[Text]:
    source = path.read_text()
    if path.suffix == ".py":
        yield from _texts_of_python(source)
        return
    for strings in CALL.findall(source if path.suffix == ".js" else templatize(source)):
        yield tuple(ast.literal_eval(string) for string in strings if string)


def _texts_of_python(source: str) -> Iterator[Text]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKERS:
            arguments = node.args[: MARKERS[node.func.id]]
            if all(isinstance(one, ast.Constant) for one in arguments):
                yield tuple(ast.literal_eval(one) for one in arguments)


if __name__ == "__main__":
    for path in catalogues():
        path.with_suffix(".mo").write_bytes(mo_bytes(read_po(path)))
