// The page's words.

import { en } from './en.js';
import { ru } from './ru.js';
import { wording } from './words.js';

/** A text by its name. */
export const t = wording({ en, ru });

/** What is wrong, for people. */
export function errorText(error) {
  const code = String(error.code ?? 'INTERNAL').toUpperCase();
  const name = code === 'BAD_USER_INPUT' ? `error.of.${error.field}` : `error.${code}`;
  if (en[name] === undefined) return error.message || t('error.INTERNAL');
  return t(name, { n: error.retryAfter ?? 0 });
}
