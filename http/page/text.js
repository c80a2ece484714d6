// What people write: text, in which links can be followed and mentions are seen. It is never HTML.

import { html } from './lib/ui.js';
import { me } from './session.js';

const special = /(https?:\/\/[^\s<>"]+)|(?<![\p{L}\p{N}_.+%@/-])(@[^\s@]+)/giu;

export function Text({ text }) {
  const mine = me.value?.username.toLowerCase();
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(special)) {
    const whole = found[0];
    const end = found[1] ? trimmedLink(whole) : whole.replace(/[^\p{L}\p{N}]+$/u, '');
    if (end.length < 2 || (found[1] && !linkable(end))) continue;
    parts.push(text.slice(from, found.index));
    if (found[1]) parts.push(html`<a href=${end} rel="noopener noreferrer nofollow" target="_blank">${end}</a>`);
    else parts.push(html`<span class="mention" data-me=${end.slice(1).toLowerCase() === mine}>${end}</span>`);
    from = found.index + end.length;
  }
  parts.push(text.slice(from));
  return html`${parts}`;
}

// A link ends before the full stop of its sentence, and before a bracket that was opened before it.
function trimmedLink(text) {
  let link = text.replace(/[.,;:!?'…»”]+$/u, '');
  while (/[)\]}]$/.test(link)) {
    const [open, close] = { ')': '()', ']': '[]', '}': '{}' }[link.at(-1)];
    if (link.split(open).length >= link.split(close).length) break;
    link = link.slice(0, -1);
  }
  return link;
}

function linkable(text) {
  try {
    return ['http:', 'https:'].includes(new URL(text).protocol);
  } catch {
    return false;
  }
}
