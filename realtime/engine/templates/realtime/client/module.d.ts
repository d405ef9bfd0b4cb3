{% autoescape off %}// {{ mark }}

import type { TypedConnection, TypedOptions } from "{{ runtime }}/typed.js";

export { ConnectionLost, RequestRefused, RequestTimeout } from "{{ runtime }}/typed.js";
{% for type in types %}
{% if type.summary %}/** {{ type.summary }} */
{% endif %}{% if type.alias %}export type {{ type.name }} = {{ type.alias }};
{% else %}export interface {{ type.name }} {
{% for field in type.fields %}  {{ field }};
{% endfor %}}
{% endif %}{% endfor %}
export type ClientMessage = {{ sent|default:"never" }};

export type ServerMessage = {{ received|default:"never" }};

/** The answers to a message, by its `type`. */
export interface Replies {
{% for reply in replies %}  {{ reply }};
{% endfor %}}

export type {{ module.class_name }}Options = {{ options }};

/** {{ summary }} */
export class {{ module.class_name }} extends TypedConnection<{{ parameters }}> {
  constructor(options{{ optional }}: {{ module.class_name }}Options);
}
{% endautoescape %}
