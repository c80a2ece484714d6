// What is told to clients, and who is sent away.

import { html, useEffect, useSignal } from '../lib/ui.js';
import { graphql } from './api.js';
import { ask } from './ask.js';
import { errorText } from './errors.js';
import { t } from './i18n.js';

/** What is wrong with JSON, in the browser's words; null: nothing. */
function jsonProblem(text) {
  if (text.trim() === '') return null;
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

async function told(channel) {
  const { service } = await graphql('query Channel($name: String!) { service { channel(name: $name) { subscribers exact } } }', { name: channel });
  return service.channel;
}

export function Broadcast() {
  const channel = useSignal('');
  const type = useSignal('announcement');
  const data = useSignal('{\n  "text": ""\n}');
  const kept = useSignal(true);
  const result = useSignal(null);
  const error = useSignal(null);
  const problem = jsonProblem(data.value);

  const wrong = (failure) => {
    error.value = failure;
    return failure.field !== undefined; // is shown beside the form
  };
  const submit = async (event) => {
    event.preventDefault();
    result.value = error.value = null;
    const input = { channel: channel.value.trim(), type: type.value.trim(), kept: kept.value, data: data.value.trim() === '' ? {} : JSON.parse(data.value) };
    let to;
    try {
      to = await told(input.channel);
    } catch (failure) {
      error.value = failure;
      return;
    }
    ask({
      title: t('broadcast.ask', { channel: input.channel }),
      body: html`<p>${t(to.exact ? 'broadcast.to' : 'broadcast.toLeast', { n: to.subscribers })} ${t(input.kept ? 'broadcast.isKept' : 'broadcast.isNotKept')}</p>
        <pre>${input.type}\n${JSON.stringify(input.data, null, 2)}</pre>`,
      button: t('broadcast.do'),
      failed: wrong,
      act: async () => {
        await graphql('mutation Broadcast($input: BroadcastInput!) { broadcast(input: $input) { channel } }', { input });
        result.value = t('broadcast.done', { channel: input.channel });
      },
    });
  };
  return html`<section aria-labelledby="broadcast-title">
    <h2 id="broadcast-title">${t('broadcast.title')}</h2>
    <form name="broadcast" class="fields" onSubmit=${submit}>
      <label>${t('channel')} <input name="channel" list="channels" required autocomplete="off" spellcheck="false" value=${channel.value} onInput=${(e) => { channel.value = e.target.value; }} /></label>
      <label>${t('broadcast.type')} <input name="type" required maxlength="63" autocomplete="off" spellcheck="false" value=${type.value} onInput=${(e) => { type.value = e.target.value; }} /></label>
      <label class="wide">${t('broadcast.data')} <textarea name="data" rows="4" spellcheck="false" value=${data.value} aria-invalid=${problem !== null} aria-describedby="json-problem" onInput=${(e) => { data.value = e.target.value; }}></textarea></label>
      <p id="json-problem" class="wide ${problem === null ? 'none' : 'error'}" role="status">${problem === null ? t('broadcast.json') : t('broadcast.notJson', { why: problem })}</p>
      <label class="check wide"><input type="checkbox" name="kept" checked=${kept.value} onChange=${(e) => { kept.value = e.target.checked; }} /> ${t('broadcast.kept')}</label>
      ${error.value !== null && html`<p class="error wide" role="alert">${errorText(error.value)}</p>`}
      <div class="buttons wide"><button type="submit" class="main" disabled=${problem !== null}>${t('broadcast.button')}</button>
        <span role="status">${result.value}</span></div>
    </form>
  </section>`;
}

const usersQuery = `query Users($text: String!) { users(filter: { text: $text }, first: 20) { nodes { id username displayName role online } } }`;
const onlineQuery = `query Online { onlineUsers(first: 20) { nodes { id username displayName role online } } }`;

export function Users() {
  const text = useSignal('');
  const found = useSignal(null);
  const error = useSignal(null);
  const result = useSignal(null);
  const name = useSignal('');

  useEffect(() => {
    let current = true;
    const timer = setTimeout(async () => {
      try {
        const answer = text.value.trim() === '' ? (await graphql(onlineQuery)).onlineUsers : (await graphql(usersQuery, { text: text.value.trim() })).users;
        if (current) [found.value, error.value] = [answer.nodes, null];
      } catch (failure) {
        if (current) [found.value, error.value] = [null, failure];
      }
    }, 250);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [text.value]);

  const disconnect = (user, words) => {
    const choice = { revoke: false };
    result.value = null;
    ask({
      title: t('users.ask', { user: words }),
      body: html`<p>${t('users.what')}</p><label class="check"><input type="checkbox" name="revoke" onChange=${(e) => { choice.revoke = e.target.checked; }} /> ${t('users.revoke')}</label>`,
      button: t('users.disconnect'),
      dangerous: true,
      act: async () => {
        await graphql('mutation Disconnect($input: DisconnectUserInput!) { disconnectUser(input: $input) { user } }', { input: { user, revoke: choice.revoke } });
        result.value = t(choice.revoke ? 'users.revoked' : 'users.done', { user: words });
      },
    });
  };
  return html`<section aria-labelledby="users-title">
    <h2 id="users-title">${t('users.title')}</h2>
    <form class="row" role="search" onSubmit=${(e) => e.preventDefault()}>
      <label>${t('users.search')} <input type="search" name="user" autocomplete="off" value=${text.value} onInput=${(e) => { text.value = e.target.value; }} /></label>
    </form>
    <p role="status">${result.value}</p>
    ${error.value !== null && html`<p class="error" role="alert">${errorText(error.value)}</p>`}
    ${found.value !== null && (found.value.length === 0 ? html`<p class="none">${t(text.value.trim() === '' ? 'users.nobody' : 'users.none')}</p>` : html`<ul class="users" aria-label=${t('users.title')}>
      ${found.value.map((u) => html`<li key=${u.id}>
        <span><b>${u.displayName}</b> <span class="of">@${u.username} · ${u.id}</span> ${u.online && html`<span class="mark well">${t('users.online')}</span>`}</span>
        <button type="button" class="small" onClick=${() => disconnect(u.id, `${u.displayName} (@${u.username})`)}>${t('users.disconnect')}…<span class="spoken"> ${u.username}</span></button>
      </li>`)}
    </ul>`)}
    <details><summary>${t('users.other')}</summary>
      <form class="row" onSubmit=${(e) => { e.preventDefault(); if (name.value !== '') disconnect(name.value, name.value); }}>
        <label>${t('users.name')} <input name="name" required autocomplete="off" spellcheck="false" value=${name.value} onInput=${(e) => { name.value = e.target.value; }} /></label>
        <button type="submit">${t('users.disconnect')}…</button>
      </form></details>
  </section>`;
}
