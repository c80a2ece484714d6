// Follows a channel, with the rights of whoever has signed in: what it brings is shown as it is.

import { html, signal, useEffect, useSignal } from '../lib/ui.js';
import { renew } from '../session.js';
import { token } from './api.js';
import { moment, number, t } from './i18n.js';

const kept = 300; // events on the page

const channel = signal(null); // that is followed
const state = signal('idle');
const error = signal(null);
const events = signal([]); // {n, at, type, channel, text, pretty}, the newest first
const paused = signal(false);
const waiting = signal(0); // events that came while it is paused
const told = signal(0); // events since the beginning
let number_ = 0;
let gathered = []; // that are not drawn yet
let drawing = 0;
let client = null;

function draw() {
  drawing = 0;
  if (paused.value) {
    gathered = gathered.slice(-kept);
    return;
  }
  if (gathered.length > 0) events.value = [...gathered.reverse(), ...events.value].slice(0, kept);
  gathered = [];
  waiting.value = 0;
}

// However many come, they are drawn five times a second.
function show(type, of, at, data, notice = false) {
  number_ += 1;
  const text = data === undefined ? '' : JSON.stringify(data);
  gathered.push({ n: number_, type, channel: of, at, text, data, notice });
  if (gathered.length > 2 * kept) gathered = gathered.slice(-kept);
  if (!notice) told.value += 1;
  if (paused.value) waiting.value += 1;
  if (drawing === 0) drawing = setTimeout(draw, 200);
}

async function open() {
  if (client !== null) return client;
  const { connect } = await import('/tidings.js');
  client = connect({
    token: async (why) => {
      if (token.value !== null) return token.value;
      if (why !== 'connect') await renew(); // the cookie says who it is
      return null;
    },
  });
  client.onState((now) => { state.value = now; });
  return client;
}

let subscription = null;

export const followed = {
  channel,
  async begin(name) {
    followed.end();
    channel.value = name;
    error.value = null;
    document.getElementById('follow')?.scrollIntoView({ block: 'start' });
    try {
      const opened = await open();
      if (channel.value !== name) return; // another one is followed by now
      subscription = opened.subscribe(name, {
        event: (e) => show(e.type, e.channel, e.at, e.data),
        signal: (s) => show(s.type, s.channel, new Date().toISOString(), s.data),
        rows: (rows, of) => show('rows', of, new Date().toISOString(), rows, true),
        live: (of) => show('live', of, new Date().toISOString(), undefined, true),
        reset: (of, reason) => show('reset', of, new Date().toISOString(), { reason }, true),
        error: (wrong) => { error.value = wrong.message; },
      });
      subscription.ready?.catch(() => {}); // error says it as well
    } catch (wrong) {
      error.value = wrong.message;
      channel.value = null;
    }
  },
  end() {
    subscription?.close();
    subscription = null;
    channel.value = null;
  },
  close() {
    followed.end();
    client?.close();
    client = null;
    events.value = [];
    gathered = [];
    waiting.value = told.value = 0;
    paused.value = false;
    error.value = null;
  },
};

function pause() {
  paused.value = !paused.value;
  if (!paused.value) draw();
}

export function Follow() {
  const name = useSignal('');
  const filter = useSignal('');
  const pretty = useSignal(false);
  useEffect(() => { if (channel.value !== null) name.value = channel.value; }, [channel.value]);
  const words = filter.value.toLowerCase();
  const shown = events.value.filter((e) => words === '' || `${e.type} ${e.channel} ${e.text}`.toLowerCase().includes(words));
  const begin = (event) => {
    event.preventDefault();
    if (name.value.trim() !== '') followed.begin(name.value.trim());
  };
  return html`<section id="follow" aria-labelledby="follow-title">
    <div class="title"><h2 id="follow-title">${t('follow.title')}</h2>
      <p role="status" class="count">${channel.value !== null && html`<span class="mark ${state.value === 'live' ? 'well' : 'warn'}">${t('follow.state', { channel: channel.value, state: t(`client.${state.value}`) })}</span>`}</p></div>
    <form class="row" onSubmit=${begin}>
      <label>${t('channel')} <input name="follow" list="channels" required value=${name.value} onInput=${(e) => { name.value = e.target.value; }} autocomplete="off" spellcheck="false" /></label>
      <button type="submit" class="main">${t('follow.begin')}</button>
      ${channel.value !== null && html`<button type="button" onClick=${followed.end}>${t('follow.end')}</button>`}
    </form>
    ${error.value !== null && html`<p class="error" role="alert">${error.value}</p>`}
    ${(channel.value !== null || events.value.length > 0) && html`<div class="row">
      <button type="button" aria-pressed=${paused.value} onClick=${pause}>${paused.value ? t('follow.goOn', { n: waiting.value }) : t('follow.pause')}</button>
      <button type="button" onClick=${() => { events.value = []; gathered = []; waiting.value = 0; }}>${t('follow.clear')}</button>
      <label>${t('follow.filter')} <input type="search" value=${filter.value} onInput=${(e) => { filter.value = e.target.value; }} /></label>
      <label class="check"><input type="checkbox" checked=${pretty.value} onChange=${(e) => { pretty.value = e.target.checked; }} /> ${t('follow.pretty')}</label>
      <span class="count">${t('follow.told', { n: told.value })}</span>
    </div>`}
    <ol class="events" tabindex="0" aria-label=${t('follow.events')}>
      ${shown.map((e) => html`<li key=${e.n} class=${e.notice ? 'notice' : ''}>
        <time datetime=${e.at}>${moment(e.at)}</time> <b>${e.type}</b> <span class="channel">${e.channel}</span>
        ${e.text !== '' && (pretty.value ? html`<pre>${JSON.stringify(e.data, null, 2)}</pre>` : html`<code>${e.text.length > 2000 ? `${e.text.slice(0, 2000)}…` : e.text}</code>`)}
      </li>`)}
    </ol>
    ${shown.length === 0 && channel.value !== null && html`<p class="none">${t(events.value.length > 0 ? 'follow.nothing' : 'follow.none')}</p>`}
    ${events.value.length === kept && html`<p class="none">${t('follow.bounded', { n: number(kept) })}</p>`}
  </section>`;
}
