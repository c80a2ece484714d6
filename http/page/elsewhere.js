// In front of somebody's own tables: the events of what is watched, as they are.

import { connect } from '/tidings.js';
import { batch, html, signal } from './lib/ui.js';
import { data } from './data.js';
import { Header } from './header.js';
import { errorText, t } from './i18n.js';
import { setConnection } from './live.js';
import { Time } from './time.js';

const most = 200;

const chosen = signal(new Set(data.topics));
const events = signal([]); // the newest first
const paused = signal(false);
const waiting = signal([]); // while it is paused

const problem = signal(null);

let client = null;
let queue = [];
let timer = null;

function flush() {
  timer = null;
  const now = queue.reverse();
  queue = [];
  const list = paused.peek() ? waiting : events;
  list.value = [...now, ...list.peek()].slice(0, most);
}

export function followTopics() {
  client?.close();
  client = null;
  problem.value = null;
  const topics = [...chosen.peek()];
  if (topics.length === 0) {
    setConnection('connecting');
    return;
  }
  client = connect();
  client.onState((state) => { if (state !== 'idle') setConnection(state === 'closed' ? 'offline' : state); });
  client.subscribe(topics, {
    event(event) {
      queue.push(event);
      timer ??= setTimeout(flush, 16);
    },
    error(error) { problem.value = error; },
  });
}

function resume() {
  batch(() => {
    paused.value = false;
    events.value = [...waiting.peek(), ...events.peek()].slice(0, most);
    waiting.value = [];
  });
}

function Topics() {
  const toggle = (topic) => {
    const now = new Set(chosen.peek());
    if (!now.delete(topic)) now.add(topic);
    chosen.value = now;
    followTopics();
  };
  return html`<fieldset class="topics"><legend>${t('elsewhere.topics')}</legend>${data.topics.map((topic) => html`<label key=${topic} class="check">
    <input type="checkbox" value=${topic} checked=${chosen.value.has(topic)} onChange=${() => toggle(topic)} /> ${topic}</label>`)}</fieldset>`;
}

function Event({ event }) {
  const text = event.data !== null && event.data !== undefined ? JSON.stringify(event.data, null, 2) : t(event.omitted ? 'elsewhere.omitted' : 'elsewhere.truncated');
  return html`<li class="event" data-event=${event.id}><header><h3>${event.type} · ${event.channel}</h3> <${Time} at=${event.at} /></header><pre tabindex="0" aria-label=${event.type}>${text}</pre></li>`;
}

export function Elsewhere() {
  const none = data.topics.length === 0;
  return html`<${Header} />
    <div class="columns"><main id="main">
      <div class="bar"><h2>${t('elsewhere.title')}</h2>
        ${!none && html`<div class="buttons">${paused.value && waiting.value.length > 0 && html`<span class="hint">${t('elsewhere.paused', { n: waiting.value.length })}</span>`}
          <button type="button" class="quiet" data-pause aria-pressed=${paused.value} onClick=${() => (paused.value ? resume() : (paused.value = true))}>${t(paused.value ? 'elsewhere.resume' : 'elsewhere.pause')}</button>
          <button type="button" class="quiet" disabled=${events.value.length === 0} onClick=${() => { events.value = []; }}>${t('elsewhere.clear')}</button></div>`}
      </div>
      ${none ? html`<div class="empty"><p class="large">${t('elsewhere.none')}</p><p>${t('elsewhere.how')}</p><pre tabindex="0">select tidings.watch('your_table', read => 'public');</pre></div>` : html`<${Topics} />`}
      ${problem.value && html`<p class="problem" role="alert">${errorText(problem.value)}</p>`}
      ${!none && events.value.length === 0 && html`<p class="empty">${t('elsewhere.waiting', { topics: [...chosen.value].join(', ') })}</p>`}
      <ol class="events" id="events" aria-label=${t('elsewhere.title')}>${events.value.map((event) => html`<${Event} key=${event.id} event=${event} />`)}</ol>
    </main></div>`;
}
