import { html } from '../lib/ui.js';

/** A table that may be wider than the screen: it scrolls by itself, with the keyboard as well. `words` say what is in it. */
export function Scrolled({ label, words, children }) {
  return html`<p class="none">${words}</p><div class="scrolled" role="group" aria-label=${label} tabindex="0">${children}</div>`;
}
