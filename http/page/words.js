// Words and numbers in the language that is chosen. Whoever calls these while drawing is drawn anew when it changes.

import { language } from './settings.js';

const made = new Map();

/** A formatter of Intl, made once for each language and options. */
export function formatter(kind, options = {}) {
  const key = `${language.value} ${kind} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Intl[kind](language.value, options));
  return made.get(key);
}

const plain = (n) => formatter('NumberFormat').format(n);

/**
 * What gives a page's texts by their names, of its dictionaries `{en, ru}`. In a text, `{n}` chooses the plural where there is one, and each
 * `{name}` stands for a value; numbers are written by `number`.
 */
export function wording(words, number = plain) {
  return (name, values = {}) => {
    let text = words[language.value][name] ?? words.en[name] ?? name;
    if (typeof text === 'object') text = text[formatter('PluralRules').select(values.n)] ?? text.other;
    return text.replace(/\{(\w+)\}/g, (all, key) => {
      const value = values[key];
      return typeof value === 'number' ? number(value) : value ?? all;
    });
  };
}
