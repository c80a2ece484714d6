// The page's words, in the language that is chosen. Whoever calls these while drawing is drawn anew when it changes.

import { en } from './en.js';
import { language } from './settings.js';
import { ru } from './ru.js';

const words = { en, ru };
const made = new Map();

/** A formatter of Intl, made once for each language and options. */
export function formatter(kind, options = {}) {
  const key = `${language.value} ${kind} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Intl[kind](language.value, options));
  return made.get(key);
}

/** A text by its name. `{n}` chooses the plural where there is one, and each `{name}` stands for a value. */
export function t(name, values = {}) {
  let text = words[language.value][name] ?? en[name] ?? name;
  if (typeof text === 'object') text = text[formatter('PluralRules').select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (all, key) => {
    const value = values[key];
    return typeof value === 'number' ? formatter('NumberFormat').format(value) : value ?? all;
  });
}

/** What is wrong, for people. */
export function errorText(error) {
  const code = String(error.code ?? 'INTERNAL').toUpperCase();
  const name = code === 'BAD_USER_INPUT' ? `error.of.${error.field}` : `error.${code}`;
  if (en[name] === undefined) return error.message || t('error.INTERNAL');
  return t(name, { n: error.retryAfter ?? 0 });
}
