// The operator's page. It has no data of its own: it asks the service, as whoever has signed in.

import { html, render, signal, useEffect } from '../lib/ui.js';
import { onSession, signOut } from '../session.js';
import { graphql, token } from './api.js';
import { Asking } from './ask.js';
import { Broadcast, Users } from './acts.js';
import { Channels, Refused, Suggestions } from './channels.js';
import { followed, Follow } from './follow.js';
import { NoRoles, NotAdmin, SignIn, Unknown } from './gate.js';
import { duration, moment, t } from './i18n.js';
import { Instances, Log, Plots, Wrong, wrong } from './overview.js';
import { language, theme } from '../settings.js';
import { answeredAt, failing, follow, refused, service, stale } from './state.js';
import { Tables } from './tables.js';

/** What is shown: {view, user, …}. */
const gate = signal({ view: 'asking' });

/** Why who wanted to leave is still signed in; null: nobody did, or he is not. */
const staying = signal(null);

let stop = null;
let again = 0;

let beginning = null;

/** Finds out whether who has signed in is an administrator; resolves with whether it is known who that is. */
function begin() {
  beginning = find();
  return beginning;
}

async function find() {
  clearTimeout(again);
  try {
    await graphql('query Who { service { instance } }', {}, 5000);
    const { me } = await graphql('query Me { me { id username displayName role } }').catch(() => ({ me: null }));
    stop ??= follow();
    gate.value = { view: 'admin', user: me };
    return true;
  } catch (error) {
    if (error.code === 'FORBIDDEN') {
      const { me } = await graphql('query Me { me { id username displayName role } }').catch(() => ({ me: null }));
      gate.value = { view: 'notAdmin', user: me };
      return true;
    }
    if (error.unanswered) {
      gate.value = { view: 'unknown', error, since: gate.value.since ?? Date.now() };
      again = setTimeout(begin, 1000 + 1000 * Math.random());
      return true;
    }
    gate.value = { view: error.code === 'NOT_FOUND' ? 'noRoles' : 'signIn' };
    return false;
  }
}

async function leave() {
  const pasted = token.value !== null;
  token.value = null;
  staying.value = null;
  try {
    if (!pasted) await signOut();
  } catch (error) {
    staying.value = error;
    return;
  }
  forgetAll();
  gate.value = { view: 'signIn' };
}

function forgetAll() {
  stop?.();
  stop = null;
  followed.close();
  service.value = failing.value = refused.value = null;
}

// Somebody else has signed in, or nobody is any more: here or in another window.
onSession(() => {
  if (token.value !== null) return;
  forgetAll();
  begin();
}, async () => {
  followed.close();
  await beginning; // what is asked while the session ends would be refused
  await stop?.();
  stop = null;
});

function State() {
  if (gate.value.view !== 'admin') return null;
  if (failing.value !== null) {
    const age = answeredAt.value === null ? null : (Date.now() - answeredAt.value) / 1000;
    return html`<p id="state" class="mark bad" data-state="stale">${t('header.stale', { since: moment(failing.value.since) })}${age !== null && html` <span class="of">${t('header.age', { age: duration(Math.round(age)) })}</span>`}</p>`;
  }
  if (answeredAt.value === null) return html`<p id="state" class="mark note" data-state="asking">${t('header.asking')}</p>`;
  const bad = wrong.value.some((w) => w.level === 'bad');
  return html`<p id="state" class="mark ${bad ? 'bad' : 'well'}" data-state="live"><span>${t(bad ? 'header.trouble' : 'header.live')}</span> <time>${moment(answeredAt.value)}</time></p>`;
}

function Header() {
  const { user, view } = gate.value;
  return html`<header>
    <h1><a href="/">tidings</a> <span>${t('header.title')}</span></h1>
    <${State} />
    <div class="settings">
      <label><span class="spoken">${t('header.language')}</span> <select name="language" value=${language.value} onChange=${(e) => { language.value = e.target.value; }}>
        <option value="en" lang="en">English</option><option value="ru" lang="ru">Русский</option></select></label>
      <label><span class="spoken">${t('header.theme')}</span> <select name="theme" value=${theme.value} onChange=${(e) => { theme.value = e.target.value; }}>
        ${['auto', 'light', 'dark'].map((name) => html`<option value=${name}>${t(`theme.${name}`)}</option>`)}</select></label>
      ${staying.value !== null && view !== 'signIn' && html`<span class="error" role="alert">${t('signOut.failed', { why: staying.value.message })}</span>`}
      ${view === 'admin' && html`<span class="user">${user?.displayName}</span> <button type="button" class="small" onClick=${leave}>${t('signOut')}</button>`}
    </div>
  </header>`;
}

function Page() {
  useEffect(() => { document.title = `${wrong.value.filter((w) => w.level !== 'note').length > 0 ? '⚠ ' : ''}tidings · ${t('header.title')}`; });
  return html`<${Wrong} />
    ${service.value !== null && html`<div class=${stale.value ? 'stale' : ''}>
      <${Plots} /><${Instances} />
      <div class="columns"><${Channels} /><${Refused} /></div>
    </div>
    <${Follow} />
    <${Tables} />
    <div class="columns"><${Broadcast} /><${Users} /></div>
    <div class=${stale.value || service.value.databaseProblem !== null ? 'stale' : ''}><${Log} /></div>
    <${Suggestions} />`}`;
}

function Admin() {
  useEffect(() => { begin(); }, []);
  useEffect(() => {
    if (refused.value !== null) { // a session has ended, or a role was taken
      forgetAll();
      begin();
    }
  }, [refused.value]);
  const { view, user, since, error } = gate.value;
  const views = {
    asking: () => html`<p class="gate none" role="status">${t('header.asking')}</p>`,
    signIn: () => html`<${SignIn} begin=${begin} />`,
    notAdmin: () => html`<${NotAdmin} user=${user} begin=${begin} leave=${leave} />`,
    noRoles: () => html`<${NoRoles} />`,
    unknown: () => html`<${Unknown} since=${since} error=${error} />`,
    admin: () => html`<${Page} />`,
  };
  return html`<${Header} /><main>${views[view]()}</main><${Asking} />`;
}

render(html`<${Admin} />`, document.getElementById('admin'));
