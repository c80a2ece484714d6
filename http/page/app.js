// The channel's page, as a whole.

import { html, signal, useEffect, useSignalEffect } from './lib/ui.js';
import { asked, SignDialog, SignForm } from './account.js';
import { Announcer } from './announce.js';
import { Avatar, nameOf } from './avatar.js';
import { NewMessage, offered, orphan } from './composer.js';
import { Confirm } from './confirm.js';
import { data } from './data.js';
import { Feed, Unseen } from './feed.js';
import { goTo, named, notice } from './go.js';
import { Header } from './header.js';
import { errorText, t } from './i18n.js';
import { Icon } from './icons.js';
import { loadEnd } from './load.js';
import { ids, newer, peekMessage } from './messages.js';
import { NotificationNews } from './notifications_list.js';
import { outbox, sentMessage, submit } from './outbox.js';
import { Status } from './pending.js';
import { online, userOf } from './people.js';
import { PeopleList } from './people_list.js';
import { ended, me } from './session.js';
import { order } from './settings.js';
import { announcement, begin, failure, phase } from './start.js';
import { Typists } from './typists.js';

const formKind = signal('signIn');

// Something to be read once, and sent away.
function Note({ kind, text, onClose, children }) {
  return html`<div class="note" data-note=${kind} role="status"><p>${text} ${children}</p>
    <button type="button" class="round" aria-label=${t('close')} onClick=${onClose}><${Icon} name="close" /></button></div>`;
}

function Notes() {
  return html`
    ${announcement.value !== null && html`<${Note} kind="announcement" text=${announcement.value} onClose=${() => { announcement.value = null; }} />`}
    ${ended.value && html`<${Note} kind="ended" text=${t('signedOut')} onClose=${() => { ended.value = false; }}>
      ${data.accounts && html`<button type="button" class="link" onClick=${() => { asked.value = 'signIn'; }}>${t('signIn')}</button>`}<//>`}
    ${orphan.value !== null && html`<${Note} kind="orphan" text=${t('deletedMeanwhile')} onClose=${() => { orphan.value = null; }}>
      <button type="button" class="link" onClick=${() => { offered.value = orphan.value; orphan.value = null; }}>${t('deletedMeanwhile.take')}</button><//>`}
    ${notice.value !== null && html`<${Note} kind="notice" text=${typeof notice.value === 'string' ? notice.value : errorText(notice.value)} onClose=${() => { notice.value = null; }} />`}`;
}

function Write() {
  const user = me.value;
  if (user) {
    return html`<section class="write" aria-label=${t('compose')}><${Avatar} id=${user.id} />
      <${NewMessage} key=${user.id} onSend=${(input) => submit('createMessage', input)} /></section>`;
  }
  if (!data.accounts) return html`<p class="prompt">${t('write.readOnly')}</p>`;
  return html`<div class="prompt" data-prompt><p>${t('write.signIn')}</p><div class="buttons">
    ${data.signUp && html`<button type="button" class="primary" data-sign-up onClick=${() => { asked.value = 'signUp'; }}>${t('signUp')}</button>`}
    <button type="button" class=${data.signUp ? 'quiet' : 'primary'} data-sign-in onClick=${() => { asked.value = 'signIn'; }}>${t('signIn')}</button></div></div>`;
}

/** Messages that are on their way, and comments on messages that are not here. */
function Outbox() {
  const list = outbox.value.filter((entry) => !entry.shown && (entry.kind === 'createMessage'
    || (entry.kind === 'createComment' && !ids.value.includes(entry.messageId))));
  if (list.length === 0) return null;
  return html`<div class="outbox">${list.map((entry) => html`<article key=${entry.key} class="message pending" data-pending=${entry.state}>
    <${Avatar} id=${entry.user} />
    <div class="body"><p class="by"><strong class="author">${nameOf(userOf(entry.user))}</strong></p>
      <h3>${entry.kind === 'createMessage' ? entry.input.title : t('commentTo')}</h3>
      ${entry.input.content && html`<p class="content">${entry.input.content}</p>`}<${Status} entry=${entry} /></div>
  </article>`)}</div>`;
}

// One's own message is seen at once where the newest come first; elsewhere it is said where it is.
function Sent() {
  useSignalEffect(() => {
    if (sentMessage.value !== null && order.value === 'newest') {
      if (newer.peek().more) loadEnd('newest').catch((error) => { notice.value = error; });
      sentMessage.value = null;
    }
  });
  const id = sentMessage.value;
  if (id === null || order.value === 'newest') return null;
  const show = () => {
    sentMessage.value = null;
    goTo(id);
  };
  return html`<${Note} kind="sent" text=${t('sent')} onClose=${() => { sentMessage.value = null; }}><button type="button" class="link" onClick=${show}>${t('sent.show')}</button><//>`;
}

function Order() {
  const choose = async (event) => {
    order.value = event.currentTarget.value;
    await loadEnd(order.value).catch((error) => { notice.value = error; });
  };
  return html`<label class="order"><span class="unseen">${t('order')}</span><select data-order value=${order.value} onChange=${choose}>
    <option value="newest">${t('order.newest')}</option><option value="oldest">${t('order.oldest')}</option></select></label>`;
}

function Denied() {
  const signIn = data.accounts && me.value === null;
  return html`<div class="denied"><h2>${t(signIn ? formKind.value : 'messages')}</h2><p>${t(signIn ? 'read.signIn' : 'read.denied')}</p>
    ${signIn && html`<${SignForm} kind=${formKind.value} onKind=${(kind) => { formKind.value = kind; }} />`}</div>`;
}

const Failed = () => html`<div class="denied"><p>${t('load.failed')} ${errorText(failure.value)}</p><button type="button" class="primary" onClick=${() => begin()}>${t('again')}</button></div>`;

// `n` and `/` go to where one writes.
function shortcuts(event) {
  if (!['n', '/', 'т', '.'].includes(event.key) || (event.key === '.' && event.code !== 'Slash') || event.ctrlKey || event.metaKey || event.altKey || event.target.matches('input, textarea, select')) return;
  const field = document.querySelector('[data-compose]');
  if (!field || document.querySelector('dialog[open]')) return;
  event.preventDefault();
  field.focus();
}

export function App() {
  useEffect(() => {
    const go = () => { if (phase.peek() === 'ready' && named()) goTo(named()); };
    addEventListener('hashchange', go);
    addEventListener('keydown', shortcuts);
    return () => {
      removeEventListener('hashchange', go);
      removeEventListener('keydown', shortcuts);
    };
  }, []);
  useSignalEffect(() => {
    if (phase.value === 'ready' && named() && !peekMessage(named())) goTo(named());
  });
  const state = phase.value;
  const reading = state === 'loading' || state === 'ready';
  return html`<a class="skip" href="#main">${t('skip')}</a>
    <${Header} />
    <div class="columns">
      <main id="main" tabindex="-1">
        <${Notes} /><${Sent} />
        ${state === 'denied' && html`<${Denied} />`}
        ${state === 'failed' && html`<${Failed} />`}
        ${reading && html`${state === 'ready' ? html`<${Write} />` : html`<div class="prompt waiting"></div>`}
          <${Outbox} />
          <div class="bar"><h2>${t('messages')}</h2><${Typists} channel="messages" /><${Order} /></div>
          <${Feed} />`}
      </main>
      ${state === 'ready' && online.value !== null && html`<aside class="wide-only" aria-label=${t('people')}><${PeopleList} /></aside>`}
    </div>
    <${Unseen} /><${SignDialog} /><${Confirm} /><${Announcer} /><${NotificationNews} />`;
}
