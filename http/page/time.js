// When something was: in words, which follow the time, and exactly.

import { html, signal } from './lib/ui.js';
import { formatter } from './words.js';

const now = signal(Date.now());
setInterval(() => { now.value = Date.now(); }, 20_000);

const units = [['year', 31_557_600], ['month', 2_629_800], ['week', 604_800], ['day', 86_400], ['hour', 3600], ['minute', 60]];

export function ago(at) {
  const seconds = Math.min(0, (Date.parse(at) - now.value) / 1000); // clocks may differ
  for (const [unit, length] of units) {
    if (seconds <= -length) return formatter('RelativeTimeFormat', { numeric: 'auto' }).format(Math.ceil(seconds / length), unit);
  }
  return formatter('RelativeTimeFormat', { numeric: 'auto' }).format(0, 'second');
}

export const exactly = (at) => {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : formatter('DateTimeFormat', { dateStyle: 'full', timeStyle: 'medium' }).format(date);
};

export function Time({ at }) {
  if (Number.isNaN(Date.parse(at))) return html`<time datetime=${at}>${at}</time>`; // PostgreSQL's years go farther than JavaScript's
  return html`<time datetime=${at} title=${exactly(at)}>${ago(at)}</time>`;
}
