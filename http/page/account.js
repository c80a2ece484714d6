// Signing in, and becoming a user.

import { html, signal, useEffect, useId, useRef, useSignal } from './lib/ui.js';
import { data } from './data.js';
import { errorText, t } from './i18n.js';
import { Icon } from './icons.js';
import { signIn, signUp } from './session.js';

/** null, signIn or signUp: which form is asked for. */
export const asked = signal(null);

function Field({ label, hint, problem, ...rest }) {
  const id = useId();
  const described = [hint && `${id}-hint`, problem && `${id}-problem`].filter(Boolean).join(' ') || undefined;
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input id=${id} aria-invalid=${Boolean(problem)} aria-describedby=${described} ...${rest} />
    ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    ${problem && html`<p class="problem" id="${id}-problem">${problem}</p>`}
  </div>`;
}

const bytes = (text) => new TextEncoder().encode(text).length;

function problemsOf(kind, { username, password }) {
  const problems = {};
  if (username === '') problems.username = t('username.needed');
  else if (/\s/.test(username)) problems.username = t('username.space');
  if (password === '') problems.password = t('password.needed');
  else if (kind === 'signUp' && bytes(password) < 8) problems.password = t('password.short');
  else if (kind === 'signUp' && password.toLowerCase() === username.toLowerCase()) problems.password = t('password.isName');
  return problems;
}

export function SignForm({ kind, onKind, onDone }) {
  const problems = useSignal({});
  const busy = useSignal(false);
  const visible = useSignal(false);
  const form = useRef(null);
  useEffect(() => { problems.value = {}; }, [kind]);
  const up = kind === 'signUp';
  const submit = async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(form.current));
    fields.username = fields.username.trim();
    problems.value = problemsOf(kind, fields);
    const wrong = Object.keys(problems.value)[0];
    if (wrong) {
      form.current.elements[wrong].focus();
      return;
    }
    busy.value = true;
    try {
      if (up) await signUp(fields.username, fields.password, fields.displayName.trim());
      else await signIn(fields.username, fields.password);
      onDone?.();
    } catch (error) {
      const named = ['username', 'password', 'displayName'].includes(error.field) ? error.field : 'form';
      const text = error.code === 'UNAUTHENTICATED' ? t('wrongPassword') : errorText(error);
      problems.value = { [named]: up && named === 'username' && /taken|exists|already/.test(error.message) ? t('username.taken') : text };
      form.current?.elements[named === 'form' ? 'password' : named]?.focus();
    }
    busy.value = false;
  };
  const wrong = problems.value;
  return html`<form class="sign" ref=${form} data-form=${kind} aria-busy=${busy.value} noValidate onSubmit=${submit}>
    <${Field} label=${t('username')} problem=${wrong.username} name="username" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64" required />
    ${up && html`<${Field} label=${t('displayName')} hint=${t('displayName.hint')} problem=${wrong.displayName} name="displayName" autocomplete="name" maxlength="200" />`}
    <${Field} label=${t('password')} hint=${up ? t('password.hint') : undefined} problem=${wrong.password} name="password" type=${visible.value ? 'text' : 'password'}
      autocomplete=${up ? 'new-password' : 'current-password'} maxlength="1024" required />
    <label class="check"><input type="checkbox" checked=${visible.value} onChange=${(event) => { visible.value = event.currentTarget.checked; }} /> ${t('password.show')}</label>
    ${wrong.form && html`<p class="problem" role="alert" data-problem>${wrong.form}</p>`}
    <button type="submit" class="primary wide" disabled=${busy.value}>${t(kind)}</button>
    ${data.signUp && html`<p class="hint centered">${t(up ? 'toSignIn' : 'toSignUp')} <button type="button" class="link" data-other onClick=${() => onKind(up ? 'signIn' : 'signUp')}>${t(up ? 'signIn' : 'signUp')}</button></p>`}
  </form>`;
}

export function SignDialog() {
  const dialog = useRef(null);
  const kind = asked.value;
  useEffect(() => {
    if (kind && !dialog.current.open) dialog.current.showModal();
  }, [kind]);
  if (!kind) return null;
  // The dialog tells that it was closed a moment later, when it may be asked for again.
  const close = () => {
    dialog.current.close();
    asked.value = null;
  };
  const closed = (event) => { if (event.currentTarget === dialog.current) asked.value = null; };
  return html`<dialog class="dialog" ref=${dialog} aria-labelledby="sign-title" onClose=${closed}>
    <header class="panel-head"><h2 id="sign-title">${t(kind)}</h2><button type="button" class="round" aria-label=${t('close')} onClick=${close}><${Icon} name="close" /></button></header>
    <${SignForm} kind=${kind} onKind=${(other) => { asked.value = other; }} onDone=${close} />
  </dialog>`;
}
