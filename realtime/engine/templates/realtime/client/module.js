{% autoescape off %}// {{ mark }}
// @ts-nocheck: its types are in {{ module.name }}.d.ts

import { TypedConnection } from "{{ runtime }}/typed.js";

export { ConnectionLost, RequestRefused, RequestTimeout } from "{{ runtime }}/typed.js";

/** What `TypedConnection` has to know of the endpoint. */
const description = {
{% for name, value in description.items %}  {{ name }}: {{ value }},
{% endfor %}};

/** {{ summary }} */
export class {{ module.class_name }} extends TypedConnection {
  constructor(options = {}) {
    super(description, options);
  }
}
{% endautoescape %}
