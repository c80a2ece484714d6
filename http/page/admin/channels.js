// Who subscribes to what, and what clients are refused.

import { computed, html } from '../lib/ui.js';
import { number, t } from './i18n.js';
import { followed } from './follow.js';
import { refusedLately, service, watched } from './state.js';
import { Scrolled } from './table.js';

/** Channels to choose from, where one is typed. */
const suggestions = computed(() => [...new Set([
  ...(watched.value ?? []).map((w) => w.topic), 'presence', ...(service.value?.channels ?? []).map((c) => c.channel),
])]);

export function Suggestions() {
  return html`<datalist id="channels">${suggestions.value.map((name) => html`<option key=${name} value=${name} />`)}</datalist>`;
}

export function Channels() {
  const { channels } = service.value;
  const most = channels[0]?.subscribers ?? 1;
  return html`<section aria-labelledby="channels-title">
    <h2 id="channels-title">${t('channels.title')}</h2>
    ${channels.length === 0 ? html`<p class="none">${t('channels.none')}</p>` : html`<${Scrolled} label=${t('channels.title')} words=${t('channels.caption')}><table>
      <caption class=\"spoken\">${t('channels.title')}</caption>
      <thead><tr><th scope="col">${t('column.channel')}</th><th scope="col" class="number">${t('column.subscribers')}</th><th scope="col"><span class="spoken">${t('column.share')}</span></th><th scope="col"><span class="spoken">${t('column.do')}</span></th></tr></thead>
      <tbody>${channels.map((c) => html`<tr key=${c.channel}>
        <th scope="row">${c.channel}</th>
        <td class="number">${c.exact ? number(c.subscribers) : t('channels.least', { n: c.subscribers })}</td>
        <td class="bar" aria-hidden="true"><progress max=${most} value=${c.subscribers}></progress></td>
        <td><button type="button" class="small" onClick=${() => followed.begin(c.channel)}>${t('follow.begin')}<span class="spoken"> ${c.channel}</span></button></td>
      </tr>`)}</tbody>
    </table><//>`}
  </section>`;
}

export function Refused() {
  const totals = new Map();
  for (const i of service.value.instances) for (const { code, count } of i.refused) totals.set(code, (totals.get(code) ?? 0) + count);
  const list = [...totals].sort((a, b) => b[1] - a[1]);
  return html`<section aria-labelledby="refused-title">
    <h2 id="refused-title">${t('refused.title')}</h2>
    ${list.length === 0 ? html`<p class="none">${t('refused.none')}</p>` : html`<${Scrolled} label=${t('refused.title')} words=${t('refused.caption')}><table>
      <caption class=\"spoken\">${t('refused.title')}</caption>
      <thead><tr><th scope="col">${t('column.code')}</th><th scope="col" class="number">${t('column.lately')}</th><th scope="col" class="number">${t('column.total')}</th></tr></thead>
      <tbody>${list.map(([code, n]) => html`<tr key=${code}><th scope="row"><code>${code}</code></th>
        <td class="number">${number(refusedLately.value[code] ?? 0)}</td><td class="number">${number(n)}</td></tr>`)}</tbody>
    </table><//>`}
  </section>`;
}
