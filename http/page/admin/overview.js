// What is wrong, the plots, and the instances.

import { computed, html, signal } from '../lib/ui.js';
import { Chart } from './chart.js';
import { bytes, duration, formatter, moment, number, t } from './i18n.js';
import { failing, forget, history, label, lost, rates, refusedLately, service, watched } from './state.js';
import { whatIsWrong } from './wrong.js';
import { Scrolled } from './table.js';

export const wrong = computed(() => whatIsWrong(
  { service: service.value, watched: watched.value, failing: failing.value, lost: lost.value, refusedLately: refusedLately.value },
  { bytes, duration, moment },
));

export function Wrong() {
  const list = wrong.value;
  const level = list[0]?.level ?? 'well';
  return html`<section class="wrong ${level}" aria-labelledby="wrong-title">
    <h2 id="wrong-title">${t(service.value === null ? 'wrong.unknown' : level === 'well' || level === 'note' ? 'wrong.well' : 'wrong.title', { n: list.filter((w) => w.level !== 'note').length })}</h2>
    <ul aria-live="polite" aria-relevant="additions">
      ${list.map((w) => html`<li key=${w.key} class=${w.level}>
        <p><span class="level">${t(`level.${w.level}`)}</span> ${t(`wrong.${w.name}`, w.values)}</p>
        <p class="do">${t(`do.${w.name}`, w.values)}
          ${w.values.forget && html` <button type="button" class="small" onClick=${() => forget(w.values.forget)}>${t('forget')}</button>`}</p>
      </li>`)}
    </ul>
  </section>`;
}

const minutes = signal(5);

const plots = [
  { name: 'events', of: (s) => s.events, format: number, least: 2 },
  { name: 'delivered', of: (s) => s.delivered, format: number, least: 2 },
  { name: 'lag', of: (s) => s.lag, format: duration, least: 0.01 },
  { name: 'connections', of: (s) => s.connections, format: number, least: 2 },
  { name: 'behind', of: (s) => s.behind, format: number, least: 2 },
  { name: 'logBytes', of: (s) => s.logBytes, format: bytes, least: 1024, binary: true },
];

export function Plots() {
  return html`<section aria-labelledby="plots-title">
    <div class="title"><h2 id="plots-title">${t('plots.title')}</h2>
      <label>${t('plots.last')} <select value=${minutes.value} onChange=${(e) => { minutes.value = Number(e.target.value); }}>
        ${[2, 5, 30].map((n) => html`<option value=${n}>${t('plots.minutes', { n })}</option>`)}
      </select></label></div>
    <div class="plots">
      ${plots.map((plot) => html`<${Chart} key=${plot.name} title=${t(`plot.${plot.name}`)} help=${t(`plot.${plot.name}.help`)}
        samples=${history.value} minutes=${minutes.value} ...${plot} />`)}
    </div>
  </section>`;
}

function state(i) {
  if (i.silentSeconds > 4) return ['bad', t('state.silent', { for: duration(Math.floor(i.silentSeconds)) })];
  if (i.stopping) return ['note', t('state.stopping')];
  if (!i.live) return ['bad', t('state.notLive')];
  if (!i.beating) return ['bad', t('state.notBeating')];
  if (!i.listening) return ['warn', t('state.notListening')];
  if (i.redis === 'ALONE') return ['warn', t('state.ALONE')];
  return ['well', t(i.redis === null ? 'state.live' : `state.${i.redis}`)];
}

export function Instances() {
  const { instance: own, instances, usersOnline } = service.value;
  const percent = (n) => (n === undefined ? '–' : formatter('NumberFormat', { style: 'percent', maximumFractionDigits: 0 }).format(n));
  return html`<section aria-labelledby="instances-title">
    <div class="title"><h2 id="instances-title">${t('instances.title')}</h2>
      <p class="count">${usersOnline !== null && t('instances.online', { n: usersOnline })}</p></div>
    <${Scrolled} label=${t('instances.title')} words=${t('instances.caption')}><table>
      <caption class=\"spoken\">${t('instances.title')}</caption>
      <thead><tr>
        ${['instance', 'state', 'lag', 'events', 'delivered', 'connections', 'users', 'behind', 'cpu', 'memory', 'up', 'version']
    .map((name) => html`<th scope="col" class=${['instance', 'state', 'version'].includes(name) ? '' : 'number'}>${t(`column.${name}`)}</th>`)}
      </tr></thead>
      <tbody>${instances.map((i) => {
    const rate = rates.value.get(i.name);
    const [level, words] = state(i);
    return html`<tr key=${i.name} class=${i.silentSeconds > 4 ? 'silent' : ''}>
          <th scope="row">${label(i)} ${i.name === own && html`<span class="tag">${t('instances.own')}</span>`}</th>
          <td><span class="mark ${level}">${words}</span></td>
          <td class="number">${duration(i.lagSeconds)}</td>
          <td class="number">${number(rate?.events)}</td>
          <td class="number">${number(rate?.delivered)}</td>
          <td class="number">${number(i.connections)} <span class="of">${t('of', { n: i.maxConnections })}</span></td>
          <td class="number">${number(i.users)}</td>
          <td class="number">${number(i.behind)}${i.waiting > 0 && html` <span class="of">${t('instances.waiting', { n: i.waiting })}</span>`}</td>
          <td class="number">${percent(rate?.cpu)}</td>
          <td class="number">${bytes(i.memoryBytes)}</td>
          <td class="number"><time datetime=${i.startedAt} title=${moment(i.startedAt)}>${duration(Math.max(0, (Date.parse(i.at) - Date.parse(i.startedAt)) / 1000))}</time></td>
          <td>${i.version}</td>
        </tr>`;
  })}</tbody>
    </table><//>
  </section>`;
}

/** How the log stands. */
export function Log() {
  const { log, at } = service.value;
  if (log === null) return null;
  const age = log.oldestAt === null ? null : Math.max(0, (Date.parse(at) - Date.parse(log.oldestAt)) / 1000);
  return html`<section aria-labelledby="log-title">
    <h2 id="log-title">${t('log.title')}</h2>
    <p>${t('log.words', { bytes: bytes(log.bytes), max: bytes(log.maxBytes), entries: log.entries, age: duration(age), retention: duration(log.retentionSeconds) })}</p>
    <meter min="0" max=${log.maxBytes} high=${0.8 * log.maxBytes} value=${log.bytes} aria-label=${t('log.meter')}></meter>
    <${Scrolled} label=${t('log.title')} words=${t('log.caption')}><table>
      <caption class=\"spoken\">${t('log.title')}</caption>
      <thead><tr><th scope="col">${t('column.partition')}</th><th scope="col">${t('column.since')}</th><th scope="col" class="number">${t('column.bytes')}</th></tr></thead>
      <tbody>${log.partitions.map((p) => html`<tr key=${p.name}>
        <th scope="row">${p.name} ${p.current && html`<span class="tag">${t('log.current')}</span>`}</th>
        <td>${p.startedAt === null ? t('log.empty') : moment(p.startedAt)}</td><td class="number">${bytes(p.bytes)}</td></tr>`)}</tbody>
    </table><//>
  </section>`;
}
