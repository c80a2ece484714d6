// A user in small: the first letters of the name, on one of a few colours.

import { html, useComputed } from './lib/ui.js';
import { t } from './i18n.js';
import { online, userOf } from './people.js';

const colours = 8;

export const nameOf = (user) => (user ? user.displayName : user === false ? t('gone') : '…');

const letters = (name) => {
  const words = name.trim().split(/\s+/u);
  return [words[0], words.length > 1 ? words.at(-1) : ''].map((word) => [...word.replace(/^[^\p{L}\p{N}]+/u, '')][0] ?? '').join('').toLocaleUpperCase();
};

export function Avatar({ id }) {
  const user = userOf(id);
  const there = useComputed(() => online.value?.has(id) ?? false);
  const colour = /^\d+$/.test(id ?? '') ? Number(BigInt(id) % BigInt(colours)) : 0;
  return html`<span class="avatar" data-colour=${colour} data-online=${there.value} aria-hidden="true">${user ? letters(user.displayName) : ''}</span>`;
}
