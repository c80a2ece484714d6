// What everybody chooses for himself: language, colours, and in which order messages are read.

import { effect, signal } from './lib/ui.js';
import { keep, kept } from './kept.js';

const chosen = kept('settings', {});
const root = document.documentElement;

export const language = signal(root.lang === 'ru' ? 'ru' : 'en');
export const theme = signal(root.dataset.theme ?? 'auto');
export const order = signal(chosen.order === 'oldest' ? 'oldest' : 'newest');

let first = true;
effect(() => {
  root.lang = language.value;
  if (theme.value === 'auto') delete root.dataset.theme;
  else root.dataset.theme = theme.value;
  const now = { language: language.value, theme: theme.value, order: order.value };
  if (first) first = false; // what nobody has chosen goes on following the system
  else keep('settings', now);
});
