// Who is there, and who was.

import { html } from './lib/ui.js';
import { Avatar, nameOf } from './avatar.js';
import { t } from './i18n.js';
import { lastSeen, online, userOf } from './people.js';
import { me } from './session.js';
import { Time } from './time.js';

const most = 50;
const mostEarlier = 8;

function Person({ id, seen }) {
  const user = userOf(id);
  return html`<li class="person" data-user=${id}><${Avatar} id=${id} />
    <span><span class="name">${user === false ? id : nameOf(user)}</span>${id === me.value?.id && html` <span class="hint">(${t('you')})</span>`}
      ${seen ? html`<span class="hint seen"><${Time} at=${seen} /></span>` : html`<span class="unseen">, ${t('online')}</span>`}</span>
  </li>`;
}

export function PeopleList() {
  if (online.value === null) return null;
  const now = [...online.value.keys()];
  const earlier = [...lastSeen.value].filter(([id]) => !online.value.has(id)).sort(([, a], [, b]) => (a < b ? 1 : -1)).slice(0, mostEarlier);
  return html`<h2 class="small" data-online-count=${now.length}>${t('people.online', { n: now.length })}</h2>
    ${now.length === 0 && me.value === null && html`<p class="hint">${t('people.none')}</p>`}
    <ul class="people">${now.slice(0, most).map((id) => html`<${Person} key=${id} id=${id} />`)}</ul>
    ${now.length > most && html`<p class="hint">${t('people.more')}</p>`}
    ${earlier.length > 0 && html`<h2 class="small">${t('people.earlier')}</h2>
      <ul class="people earlier">${earlier.map(([id, seen]) => html`<${Person} key=${id} id=${id} seen=${seen} />`)}</ul>`}`;
}
