// Asks before something is done that others will see.

import { html, signal, useEffect, useRef, useSignal } from '../lib/ui.js';
import { errorText } from './errors.js';
import { t } from './i18n.js';

const asked = signal(null);

/** Shows what will be done, `body`, with a button that says so, and does it. `act` may fail: then that is shown, and it can be tried again. */
export function ask(question) { asked.value = question; }

export function Asking() {
  const dialog = useRef(null);
  const busy = useSignal(false);
  const error = useSignal(null);
  const question = asked.value;
  useEffect(() => {
    if (question === null) return;
    error.value = null;
    dialog.current.showModal();
  }, [question]);
  if (question === null) return null;

  const close = () => { asked.value = null; };
  const act = async (event) => {
    event.preventDefault();
    busy.value = true;
    error.value = null;
    try {
      await question.act();
      close();
    } catch (wrong) {
      if (question.failed?.(wrong)) close();
      else error.value = wrong;
    }
    busy.value = false;
  };
  return html`<dialog ref=${dialog} aria-labelledby="asking-title" onClose=${close}>
    <form onSubmit=${act}>
      <h2 id="asking-title">${question.title}</h2>
      <div>${typeof question.body === 'function' ? html`<${question.body} />` : question.body}</div>
      ${error.value !== null && html`<p class="error" role="alert">${errorText(error.value)}</p>`}
      <div class="buttons">
        <button type="button" onClick=${close}>${t('cancel')}</button>
        <button type="submit" class=${question.dangerous ? 'dangerous' : 'main'} disabled=${busy.value}>${question.button}</button>
      </div>
    </form>
  </dialog>`;
}
