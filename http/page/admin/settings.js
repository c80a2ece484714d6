// Language and colours: as they were chosen, here or on the channel's page, or as the system has them.

import { effect, signal } from '../lib/ui.js';

const name = 'tidings.settings';

function kept() {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? {};
  } catch {
    return {}; // nothing is kept, or it cannot be read
  }
}

const chosen = kept();
export const language = signal(/^ru\b/i.test(chosen.language ?? navigator.language ?? 'en') ? 'ru' : 'en');
export const theme = signal(['light', 'dark'].includes(chosen.theme) ? chosen.theme : 'auto');

let first = true; // what nobody has chosen goes on following the system
effect(() => {
  const now = { language: language.value, theme: theme.value };
  document.documentElement.lang = now.language;
  document.documentElement.dataset.theme = now.theme;
  if (first) {
    first = false;
    return;
  }
  try {
    localStorage.setItem(name, JSON.stringify({ ...kept(), ...now }));
  } catch {
    // then it holds until the page is left
  }
});
