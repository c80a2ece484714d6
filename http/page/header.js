// The head of the page: how the connection is, what is new, who is there, and what can be chosen.

import { html, useEffect, useRef, useSignal, useSignalEffect } from './lib/ui.js';
import { asked } from './account.js';
import { Avatar } from './avatar.js';
import { data } from './data.js';
import { errorText, t } from './i18n.js';
import { Icon } from './icons.js';
import { connection, tryNow } from './live.js';
import { NotificationsList } from './notifications_list.js';
import { notifications, unread } from './notifications.js';
import { PeopleList } from './people_list.js';
import { online } from './people.js';
import { me, signOut } from './session.js';
import { language, theme } from './settings.js';

// What opens below a button, and closes when one goes elsewhere.
function Popover({ name, label, button, children }) {
  const panel = useRef(null);
  const open = useSignal(false);
  useEffect(() => {
    const toggled = (event) => { open.value = event.newState === 'open'; };
    const element = panel.current;
    element.addEventListener('toggle', toggled);
    return () => element.removeEventListener('toggle', toggled);
  }, []);
  const close = () => panel.current.hidePopover();
  return html`<button type="button" class="round" popovertarget="panel-${name}" aria-label=${label} aria-expanded=${open.value} data-open=${name}>${button}</button>
    <div class="panel" id="panel-${name}" popover="auto" role="dialog" aria-label=${label} ref=${panel}>${open.value && children(close)}</div>`;
}

function Connection() {
  const state = connection.value;
  return html`<div class="connection">
    <p class="state" id="state" role="status" data-state=${state}><${Icon} name=${state} /><span>${t(`state.${state}`)}</span></p>
    ${state === 'offline' && html`<button type="button" class="link" data-retry onClick=${tryNow}>${t('state.retry')}</button>`}
  </div>`;
}

function Choice({ name, value, values }) {
  return html`<fieldset class="choice"><legend>${t(name)}</legend>${values.map(([key, text]) => html`<label key=${key}>
    <input type="radio" name=${name} value=${key} checked=${value.value === key} onChange=${() => { value.value = key; }} /><span>${text}</span></label>`)}</fieldset>`;
}

const Settings = () => html`<${Choice} name="language" value=${language} values=${[['en', 'English'], ['ru', 'Русский']]} />
  <${Choice} name="theme" value=${theme} values=${['auto', 'light', 'dark'].map((key) => [key, t(`theme.${key}`)])} />`;

function Menu({ close }) {
  const problem = useSignal(null);
  const user = me.value;
  const out = async (everywhere) => {
    try {
      await signOut(everywhere);
      close();
    } catch (error) {
      problem.value = error;
    }
  };
  return html`${user && html`<p class="who"><strong>${user.displayName}</strong> <span class="hint">@${user.username}</span></p>`}
    <${Settings} />
    ${problem.value && html`<p class="problem" role="alert">${errorText(problem.value)}</p>`}
    ${user && (data.accounts || user.role === 'admin') && html`<div class="menu-items">
      ${user.role === 'admin' && html`<a href="/admin">${t('operators')}</a>`}
      ${data.accounts && html`<button type="button" data-sign-out onClick=${() => out(false)}>${t('signOut')}</button>
        <button type="button" onClick=${() => out(true)}>${t('signOut.everywhere')}</button>`}</div>`}`;
}

/** How many notifications are not read, in the window's title. */
function useTitle() {
  useSignalEffect(() => { document.title = unread.value > 0 ? `(${unread.value}) tidings` : 'tidings'; });
}

export function Header({ children }) {
  useTitle();
  const user = me.value;
  const n = unread.value;
  return html`<header class="head">
    <div class="inner">
      <a class="brand" href="/"><h1>tidings</h1></a>
      <${Connection} />
      <nav aria-label=${t('menu')}>
        ${children}
        ${online.value !== null && data.channel && html`<div class="narrow"><${Popover} name="people" label=${t('people.online', { n: online.value.size })} button=${html`<${Icon} name="people" /><span class="count" aria-hidden="true">${online.value.size}</span>`}>
          ${() => html`<${PeopleList} />`}<//></div>`}
        ${notifications.value !== null && html`<${Popover} name="notifications" label=${n > 0 ? t('notifications.unread', { n }) : t('notifications')}
          button=${html`<${Icon} name="bell" />${n > 0 && html`<span class="badge" data-unread-count aria-hidden="true">${n > 99 ? '99+' : n}</span>`}`}>
          ${(close) => html`<${NotificationsList} onGo=${close} />`}<//>`}
        ${!user && data.accounts && html`<button type="button" class="quiet" data-sign-in onClick=${() => { asked.value = 'signIn'; }}>${t('signIn')}</button>`}
        <${Popover} name="menu" label=${user ? t('menu.of', { name: user.displayName }) : t('menu')} button=${user ? html`<${Avatar} id=${user.id} />` : html`<${Icon} name="menu" />`}>
          ${(close) => html`<${Menu} close=${close} />`}<//>
      </nav>
    </div>
  </header>`;
}
