// What is wrong, for people. What the service says of a value is shown as it says it.

import { t } from './i18n.js';
import { en } from './en.js';

export function errorText(error) {
  const name = `error.${error.code}`;
  return error.code === 'BAD_USER_INPUT' || en[name] === undefined ? error.message : t(name);
}
