"""Says what is wrong with a message and where, in words for the developer of a client."""

from __future__ import annotations

import re

import msgspec

__all__ = ["explain", "shorten", "unknown_tag"]

#: Longest detail of an error in characters; a client's own nonsense is not echoed in full.
MAX_DETAIL = 300

_LONE_SURROGATE = re.compile(r"surrogate|Input data was truncated|unexpected end of hex escape")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_PROBLEM = re.compile(
    r"^(Object missing required field `(?P<missing>[^`]*)`|Object contains unknown field `(?P<unknown>[^`]*)`"
    r"|(?P<problem>.*?))( - at `\$\.(?P<path>[^`]*)`)?$",
    re.DOTALL,
)


def explain(error: Exception, payload: str | bytes, *, format_name: str, tags: str) -> str:
    """Return what is wrong with a message.

    Args:
        error: what msgspec has raised.
        payload: the message.
        format_name: ``JSON`` or ``MessagePack``.
        tags: the tags that there are, for people.
    """
    if isinstance(error, msgspec.ValidationError):
        return _explain_value(str(error), "JSON object" if format_name == "JSON" else "map", tags)
    if isinstance(error, RecursionError):
        return f"The {format_name} is nested too deeply."
    if isinstance(error, UnicodeError):
        return "A string is not valid UTF-8."
    return _explain_syntax(str(error), payload, format_name)


def unknown_tag(tag: str, tags: str) -> str:
    """Return what is wrong with a message of an unknown type."""
    return f"type: {shorten(f'Invalid value {tag!r}')}; it must be one of {tags}."


def shorten(problem: str) -> str:
    """Return the beginning and the end of a text that is over ``MAX_DETAIL``."""
    if len(problem) <= MAX_DETAIL:
        return problem
    return f"{problem[: MAX_DETAIL // 2]} ... {problem[-MAX_DETAIL // 2 :]}"


def _explain_value(problem: str, form: str, tags: str) -> str:
    problem = shorten(problem)
    found = _PROBLEM.fullmatch(problem)
    path = ".".join(filter(None, (found["path"], found["missing"], found["unknown"]))) if found else ""
    if problem.startswith("Expected") and " - at `" not in problem:
        return f"{problem}; a message is a {form} with a 'type', one of {tags}."
    if found is None or not path:  # of the struct's own __post_init__(), or of a key
        return f"{problem.removesuffix('.')}."
    if found["missing"]:
        return f"{path}: this field is required."
    if found["unknown"]:
        return f"{path}: there is no such field."
    if path == "type":
        return f"type: {found['problem']}; it must be one of {tags}."
    return f"{path}: {found['problem']}."


def _explain_syntax(problem: str, payload: str | bytes, format_name: str) -> str:
    if isinstance(payload, str) and _LONE_SURROGATE.search(problem) and _ESCAPED_SURROGATE.search(payload):
        return "A \\u escape stands for half a surrogate pair, which is no character."
    return f"Not valid {format_name}: {problem.removeprefix(f'{format_name} is malformed: ')}."
