"""Writes the files of a client, in TypeScript or in Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.template.loader import render_to_string

from realtime.engine.describe import python, typescript
from realtime.engine.describe.clients import ClientModule, client_modules
from realtime.engine.describe.endpoints import Endpoint
from realtime.engine.describe.schemas import MessageType, summary_of

__all__ = ["LANGUAGES", "MARK", "client_files"]

LANGUAGES = ("typescript", "python")

#: What every generated file says; a file that says it and is not generated any more is removed.
MARK = "Made by `manage.py generateclient {language}`. Do not edit."

_STATIC = Path(__file__).resolve().parent.parent / "static" / "realtime"
_PYTHON = Path(__file__).resolve().parent / "python_client"

#: The runtime of the TypeScript client: what a page loads from ``/static/realtime/``.
_SCRIPTS = ("connection", "ticket", "topics", "typed")

#: That of the Python client.
_MODULES = ("connection.py", "description.py", "handshake.py", "topics.py")


def client_files(language: str, endpoints: Iterable[Endpoint], *, served: bool = False) -> dict[str, str]:
    """Return the text of each file of a client, by its name.

    Args:
        language: ``typescript`` or ``python``.
        endpoints: what the client is for; those without message structs are left out.
        served: whether a TypeScript client stands in a folder beside ``realtime/`` of the static files, and so uses the
            runtime there; otherwise it has a copy.

    Raises:
        ValueError: if two consumers would have the same module.
    """
    modules = client_modules(endpoints)
    mark = MARK.format(language=language)
    if language == "python":
        files = {f"{module.name}.py": _python(module, mark) for module in modules}
        copies = {name: f"# {mark}\n{(_PYTHON / name).read_text(encoding='utf-8')}" for name in _MODULES}
        return {"__init__.py": f'"""{mark}"""\n', **copies, **files}
    runtime = "../realtime" if served else "."
    files = {}
    for module in modules:
        files[f"{module.name}.js"] = _script(module, mark, runtime)
        files[f"{module.name}.d.ts"] = _declarations(module, mark, runtime)
    if not served:
        for name in [f"{script}{ending}" for script in _SCRIPTS for ending in (".js", ".d.ts")]:
            files[name] = f"// {mark}\n" + (_STATIC / name).read_text(encoding="utf-8")
    return files


def _script(module: ClientModule, mark: str, runtime: str) -> str:
    tags = {message.name: message.tag for message in module.messages.values()}
    topics = module.topics
    description = {
        "paths": module.paths,
        "protocols": module.subprotocols,
        "ping": module.ping and json.dumps({"type": tags[module.ping]}),
        "replies": {tags[name]: [tags[answer] for answer in answers] for name, answers in module.replies.items()},
        "unreferenced": [tags[name] for name in module.unreferenced],
        "topics": topics
        and {"key": topics.key, "item": tags[topics.item], "seen": [tags[name] for name in topics.seen]},
        "closeCodes": {code: {"advice": advice} for code, advice in module.close_codes.items()},
    }
    context = {"description": {name: json.dumps(value) for name, value in description.items()}}
    return _render("module.js", module, mark, summary=_in_comment(module.endpoint.summary), runtime=runtime, **context)


def _declarations(module: ClientModule, mark: str, runtime: str) -> str:
    components, written = module.schemas.components, module.written

    def fields(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
        # The server sends a field with a default, unless its struct omits them.
        may_omit = name in written or name in module.schemas.omitting
        for field, value in schema["properties"].items():
            is_optional = field not in schema["required"] and (may_omit or "default" not in value)
            yield (
                f"{typescript.property_name(field)}{'?' if is_optional else ''}: "
                f"{typescript.type_name(value, components)}"
            )

    types = [
        {
            "name": name,
            "summary": _in_comment(summary_of(schema)),
            "alias": "" if "properties" in schema else typescript.type_name(schema, components),
            "fields": list(fields(name, schema)) if "properties" in schema else [],
        }
        for name, schema in components.items()
        if "enum" not in schema
    ]
    tags = {message.name: typescript.property_name(message.tag) for message in module.messages.values()}
    parameters = ["ClientMessage", "ServerMessage", "Replies"]
    if module.topics is not None:
        parameters += [module.topics.joined, module.topics.item]
    needed = _needed_options(module)
    return _render(
        "module.d.ts",
        module,
        mark,
        summary=_in_comment(module.endpoint.summary),
        runtime=runtime,
        types=types,
        sent=_union(module.sent),
        received=_union(module.received),
        replies=[f"{tags[name]}: {' | '.join(answers)}" for name, answers in module.replies.items()],
        parameters=", ".join(parameters),
        options=" & ".join(["TypedOptions", *needed]),
        optional="" if needed else "?",
    )


def _python(module: ClientModule, mark: str) -> str:
    components = module.schemas.components
    tags = {message.name: message.tag for message in module.messages.values()}

    def type_of(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        bases = ["msgspec.Struct", "kw_only=True"]
        if name in tags:
            bases[1:1] = ['tag_field="type"', f"tag={json.dumps(tags[name])}"]
        return {
            "name": name,
            "summary": _in_docstring(summary_of(schema)),
            "alias": "" if "properties" in schema else python.type_name(schema, components),
            "bases": ", ".join(bases),
            "fields": [
                python.field_source(field, value, components, required=field in schema["required"])
                for field, value in schema.get("properties", {}).items()
                if not (name in tags and field == "type")
            ],
        }

    names = [*components, module.class_name]
    topics = module.topics
    return _render(
        "module.py.txt",
        module,
        mark,
        summary=_in_docstring(module.endpoint.summary),
        public=sorted(["ConnectionLost", "HandshakeRefused", "RequestRefused", "RequestTimeout", *names]),
        types=[type_of(name, schema) for name, schema in components.items()],
        parameters="typing.Any, typing.Any" if topics is None else f"{topics.joined}, {topics.item}",
        paths=repr(module.paths),
        subprotocols=repr(tuple(module.subprotocols)),
        replies=module.replies,
        close_codes=repr(module.close_codes),
    )


def _needed_options(module: ClientModule) -> list[str]:
    """Return the types of the options that cannot be left out: parameters of every path, and those of the query."""
    options = []
    names = [re.findall(r"\{(\w+)\}", path) for path in module.paths]
    if [] not in names:
        shapes = [" ".join(f"{name}: string;" for name in each) for each in names]
        options.append(_object("params", " | ".join(_braces(shape) for shape in shapes)))
    query = module.endpoint.query
    if any(field.required for field in query):
        shape = " ".join(f"{field.name}{'' if field.required else '?'}: {field.type};" for field in query)
        options.append(_object("query", _braces(shape)))
    return options


def _object(name: str, kind: str) -> str:
    return _braces(f"{name}: {kind}")


def _braces(inside: str) -> str:
    return "{ " + inside + " }"


def _union(messages: Iterable[MessageType]) -> str:
    return " | ".join(message.name for message in messages)


def _in_comment(text: str) -> str:
    return text.replace("*/", "* /")


def _in_docstring(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _render(template: str, module: ClientModule, mark: str, **context: Any) -> str:
    return render_to_string(f"realtime/client/{template}", {"module": module, "mark": mark, **context})
