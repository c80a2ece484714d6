// Asks before something is done that cannot be undone.

import { html, signal, useEffect, useRef } from './lib/ui.js';
import { t } from './i18n.js';

const question = signal(null);

/** Resolves with whether it is to be done. The focus returns to where it was. */
export function confirm({ title, text, action }) {
  return new Promise((resolve) => { question.value = { title, text, action, resolve }; });
}

export function Confirm() {
  const dialog = useRef(null);
  const asked = question.value;
  useEffect(() => {
    if (asked) dialog.current.showModal();
  }, [asked]);
  if (!asked) return null;
  const close = () => {
    asked.resolve(dialog.current.returnValue === 'yes');
    question.value = null;
  };
  const answer = (value) => dialog.current.close(value);
  return html`<dialog class="dialog" role="alertdialog" ref=${dialog} aria-labelledby="confirm-title" aria-describedby="confirm-text" data-confirm onClose=${close}>
    <h2 id="confirm-title">${asked.title}</h2>
    <p id="confirm-text">${asked.text}</p>
    <div class="buttons">
      <button type="button" class="quiet" autofocus onClick=${() => answer('')}>${t('cancel')}</button>
      <button type="button" class="danger" data-yes onClick=${() => answer('yes')}>${asked.action}</button>
    </div>
  </dialog>`;
}
