import { html } from '../lib/ui.js';

/** What may be wider than the screen: it scrolls by itself, with the keyboard as well. */
export function Scrolled({ label, children }) {
  return html`<div class="scrolled" role="region" aria-label=${label} tabindex="0">${children}</div>`;
}
