// The page's words and numbers, in the language that is chosen.

import { formatter, wording } from '../words.js';
import { en } from './en.js';
import { ru } from './ru.js';

export { formatter };

/** A text by its name. */
export const t = wording({ en, ru }, number);

/** A number as people write it: 12,345 or 0.42. */
export function number(n) {
  if (n === null || n === undefined) return '–';
  const digits = Math.abs(n) >= 100 || Number.isInteger(n) ? 0 : Math.abs(n) >= 1 ? 1 : 2;
  return formatter('NumberFormat', { maximumFractionDigits: digits }).format(n);
}

const sizes = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];

/** Bytes, by powers of 1024. */
export function bytes(n) {
  if (n === null || n === undefined) return '–';
  let power = 0;
  while (Math.abs(n) >= 1000 && power < sizes.length - 1) {
    n /= 1024;
    power += 1;
  }
  return formatter('NumberFormat', { style: 'unit', unit: sizes[power], unitDisplay: 'short', maximumFractionDigits: n >= 100 || power === 0 ? 0 : 1 }).format(n);
}

/** A duration of so many seconds, by its largest unit. */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return '–';
  const unit = (n, name, digits = 0) =>
    formatter('NumberFormat', { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: digits }).format(n);
  if (seconds < 0.9995) return unit(seconds * 1000, 'millisecond', seconds < 0.00995 ? 1 : 0);
  if (seconds < 60) return unit(seconds, 'second', seconds < 10 ? 1 : 0);
  if (seconds < 3600) return unit(Math.floor(seconds / 60), 'minute');
  if (seconds < 48 * 3600) return unit(seconds / 3600, 'hour', seconds < 36_000 ? 1 : 0);
  return unit(seconds / 86_400, 'day', 1);
}

/** A moment of today as its time, another with its date. */
export function moment(at) {
  const date = new Date(at);
  const today = date.toDateString() === new Date().toDateString();
  return formatter('DateTimeFormat', today ? { timeStyle: 'medium' } : { dateStyle: 'medium', timeStyle: 'medium' }).format(date);
}
