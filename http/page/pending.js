// What is on its way, and what became of it.

import { html, useComputed } from './lib/ui.js';
import { errorText, t } from './i18n.js';
import { discard, outbox, sendAgain } from './outbox.js';

const none = [];

/** What is under way that `matches`; the same list as long as there is nothing. */
export function usePending(matches) {
  return useComputed(() => {
    const found = outbox.value.filter(matches);
    return found.length > 0 ? found : none;
  }).value;
}

const failures = { create: 'notSent', update: 'notSaved', delete: 'notDeleted' };
const works = { create: 'sending', update: 'saving', delete: 'deleting' };

/** Says how it is with an entry of the outbox. */
export function Status({ entry, onEdit }) {
  const work = /^[a-z]+/.exec(entry.kind)[0];
  if (entry.state === 'sending') return html`<p class="status" data-state="sending">${t(works[work])}…</p>`;
  const failed = entry.state === 'failed';
  return html`<div class="status" data-state=${entry.state} role=${failed ? 'alert' : undefined}>
    <span>${failed ? `${t(failures[work])}: ${errorText(entry.error)}` : t('waiting')}</span>
    <span class="actions">
      <button type="button" class="link" data-again onClick=${() => sendAgain(entry.key)}>${t('again')}</button>
      ${onEdit && failed && html`<button type="button" class="link" onClick=${onEdit}>${t('edit')}</button>`}
      <button type="button" class="link" data-discard onClick=${() => discard(entry.key)}>${t(work === 'create' ? 'discard' : 'cancel')}</button>
    </span>
  </div>`;
}
