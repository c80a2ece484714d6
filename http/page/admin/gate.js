// Who is not an administrator sees this: a form to sign in, or in plain words why there is nothing to see.

import { html, useEffect, useSignal } from '../lib/ui.js';
import { ended, signIn } from '../session.js';
import { token } from './api.js';
import { errorText } from './errors.js';
import { moment, t } from './i18n.js';
import { watchSQL } from './sql.js';
import { noAnswer } from './wrong.js';

const has = (name) => document.documentElement.dataset[name] === 'true';

export function SignIn({ begin }) {
  const username = useSignal('');
  const password = useSignal('');
  const pasted = useSignal('');
  const error = useSignal(null);
  const busy = useSignal(false);
  const submit = async (event) => {
    event.preventDefault();
    busy.value = true;
    error.value = null;
    try {
      await signIn(username.value.trim(), password.value);
      await begin();
    } catch (wrong) {
      error.value = wrong;
    }
    busy.value = false;
  };
  const withToken = async (event) => {
    event.preventDefault();
    error.value = null;
    token.value = pasted.value.trim().replace(/^Bearer\s+/i, '');
    if (!(await begin())) {
      token.value = null;
      error.value = { message: t('gate.badToken') };
    }
  };
  return html`<section class="gate" aria-labelledby="gate-title">
    <h2 id="gate-title">${t('gate.title')}</h2>
    ${ended.value && html`<p role="status"><strong>${t('gate.ended')}</strong></p>`}
    <p>${t('gate.words')}</p>
    ${has('accounts') && html`<form class="fields" onSubmit=${submit}>
      <label class="wide">${t('gate.username')} <input name="username" autocomplete="username" required autocapitalize="none" value=${username.value} onInput=${(e) => { username.value = e.target.value; }} /></label>
      <label class="wide">${t('gate.password')} <input name="password" type="password" autocomplete="current-password" required value=${password.value} onInput=${(e) => { password.value = e.target.value; }} /></label>
      <div class="buttons wide"><button type="submit" class="main" disabled=${busy.value}>${t('gate.signIn')}</button></div>
    </form>`}
    ${error.value !== null && html`<p class="error" role="alert">${errorText(error.value)}</p>`}
    <details open=${!has('accounts')}><summary>${t('gate.token')}</summary>
      <form class="fields" onSubmit=${withToken}>
        <label class="wide">${t('gate.tokenWords')} <textarea name="token" rows="3" required spellcheck="false" autocomplete="off" value=${pasted.value} onInput=${(e) => { pasted.value = e.target.value; }}></textarea></label>
        <div class="buttons wide"><button type="submit">${t('gate.signIn')}</button></div>
      </form></details>
    <details><summary>${t('gate.first')}</summary><p>${t('gate.firstWords')}</p><pre>${watchSQL.firstAdmin('ada')}</pre></details>
  </section>`;
}

/** It is asked again every few seconds: as soon as the role is given, the page is there. */
export function NotAdmin({ user, begin, leave }) {
  useEffect(() => {
    let there = true;
    (async () => {
      while (there) {
        await new Promise((resolve) => setTimeout(resolve, 3000));
        if (there) await begin();
      }
    })();
    return () => { there = false; };
  }, []);
  return html`<section class="gate" aria-labelledby="gate-title">
    <h2 id="gate-title">${t('gate.notAdmin')}</h2>
    <p>${user === null ? t('gate.nobody') : t('gate.role', { name: user.username, role: t(`role.${user.role}`) })}</p>
    ${user !== null && html`<p>${t('gate.ask')}</p><pre>${watchSQL.firstAdmin(user.username)}</pre><p class="none">${t('gate.waits')}</p>`}
    <div class="buttons"><button type="button" onClick=${leave}>${t('signOut')}</button></div>
  </section>`;
}

/** Where the application's tables are not in the database, nobody has a role. */
export function NoRoles() {
  return html`<section class="gate" aria-labelledby="gate-title">
    <h2 id="gate-title">${t('gate.noRoles')}</h2>
    <p>${t('gate.noRolesWords')}</p>
    <pre>select * from tidings.running;
select * from tidings.watched;
select * from tidings.log_partitions;
select * from tidings.online;</pre>
  </section>`;
}

/** Whether somebody is an administrator cannot be known now. */
export function Unknown({ since, error }) {
  return html`<section class="gate" aria-labelledby="gate-title">
    <h2 id="gate-title">${t('gate.unknown')}</h2>
    <p role="status">${t(`wrong.${noAnswer(error)}`, { since: moment(since), why: error.message })}</p>
    <p>${t(`do.${noAnswer(error)}`)}</p>
  </section>`;
}
