/** Texts for people: in the language of the page where it loads Django's JavaScriptCatalog, else as they stand in the scripts. */

/** @typedef {{gettext: (text: string) => string, ngettext: (one: string, many: string, count: number) => string}} Catalog */

/** @returns {Catalog | undefined} */
const catalog = () => /** @type {any} */ (globalThis).django;

/**
 * @param {string} text in English
 * @param {Record<string, string | number>} [values] what stands for `%(name)s`
 * @returns {string}
 */
export const gettext = (text, values = {}) => fill(catalog()?.gettext(text) ?? text, values);

/**
 * @param {string} one in English, where `count` is 1
 * @param {string} many
 * @param {number} count it also stands for `%(count)s`
 * @returns {string}
 */
export const ngettext = (one, many, count) =>
  fill(catalog()?.ngettext(one, many, count) ?? (count === 1 ? one : many), { count: count.toLocaleString(language()) });

/** @returns {string} the language of the page, as the browser's user writes it (`en-GB`), for numbers and times */
export function language() {
  const own = document.documentElement.lang || "en";
  return navigator.languages.find((tag) => tag.split("-")[0] === own.split("-")[0]) ?? own;
}

/**
 * @param {string} text
 * @param {Record<string, string | number>} values
 */
const fill = (text, values) => text.replace(/%\((\w+)\)s/g, (match, name) => String(values[name] ?? match));
