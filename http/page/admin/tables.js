// The tables that are live, and how one is made so.

import { html, signal } from '../lib/ui.js';
import { graphql } from './api.js';
import { ask } from './ask.js';
import { errorText } from './errors.js';
import { t } from './i18n.js';
import { followed } from './follow.js';
import { askWatched, mayWatch, watched } from './state.js';
import { Scrolled } from './table.js';
import { watchSQL } from './sql.js';
import { WatchForm } from './watch_form.js';

export const editing = signal(null); // what the form begins with; null: there is no form
const said = signal(null);

/** Opens the form, with what a table is like now, or with nothing. */
async function edit(w) {
  said.value = null;
  try {
    const { service } = await graphql('query Tables { service { tables { name columns key rowSecurity watched } } }');
    editing.value = { tables: service.tables, watched: w };
  } catch (error) {
    said.value = { error };
  }
}

export async function watch(input) {
  const { watchTable } = await graphql(`mutation Watch($input: WatchTableInput!) {
    watchTable(input: $input) { watched { table topic } }
  }`, { input });
  said.value = { words: t('watch.done', { table: watchTable.watched.table, topic: watchTable.watched.topic }) };
  editing.value = null;
  await askWatched();
}

function unwatch(w) {
  said.value = null;
  ask({
    title: t('unwatch.ask', { table: w.table }),
    body: html`<p>${t('unwatch.what', { topic: w.topic })}</p><pre>${watchSQL.unwatch(w.table)}</pre>`,
    button: t('unwatch.do'),
    dangerous: true,
    act: async () => {
      await graphql('mutation Unwatch($input: UnwatchTableInput!) { unwatchTable(input: $input) { table } }', { input: { table: w.table } });
      said.value = { words: t('unwatch.done', { table: w.table }) };
      await askWatched();
    },
  });
}

export function Tables() {
  const list = watched.value;
  return html`<section aria-labelledby="tables-title">
    <div class="title"><h2 id="tables-title">${t('tables.title')}</h2>
      ${mayWatch.value && editing.value === null && html`<button type="button" class="main" onClick=${() => edit(null)}>${t('watch.open')}</button>`}</div>
    <p role="status">${said.value?.words}</p>
    ${said.value?.error && html`<p class="error" role="alert">${errorText(said.value.error)}</p>`}
    ${editing.value !== null && html`<${WatchForm} ...${editing.value} watch=${watch} close=${() => { editing.value = null; }} />`}
    ${list !== null && (list.length === 0 ? html`<p class="none">${t('tables.none')}</p>` : html`<${Scrolled} label=${t('tables.title')} words=${t('tables.caption')}><table>
      <caption class=\"spoken\">${t('tables.title')}</caption>
      <thead><tr>${['table', 'topic', 'types', 'key', 'columns', 'read'].map((name) => html`<th scope="col">${t(`column.${name}`)}</th>`)}
        <th scope="col"><span class="spoken">${t('column.do')}</span></th></tr></thead>
      <tbody>${list.map((w) => html`
        <tr key=${w.table}>
          <th scope="row">${w.table}${w.problem !== null && html`<p class="problem"><span class="mark bad">${t('tables.problem')}</span> ${w.problem}</p>`}</th>
          <td>${w.topic}</td><td><code>${w.event}_…</code></td><td>${w.key ?? '–'}</td>
          <td>${w.columns === null ? t('tables.all') : w.columns.join(', ')}</td><td><code>${w.read}</code></td>
          <td><div class="buttons">
            <button type="button" class="small" onClick=${() => followed.begin(w.topic)}>${t('follow.begin')}<span class="spoken"> ${w.topic}</span></button>
            ${mayWatch.value && html`<button type="button" class="small" onClick=${() => edit(w)}>${t('watch.change')}<span class="spoken"> ${w.table}</span></button>
            <button type="button" class="small" onClick=${() => unwatch(w)}>${t('unwatch.button')}<span class="spoken"> ${w.table}</span></button>`}
          </div></td>
        </tr>`)}</tbody>
    </table><//>`)}
    ${!mayWatch.value && html`<p class="none">${t('watch.not')}</p><pre>${watchSQL.watch({ table: 'orders', key: 'customer_id', read: 'public' })}\n${watchSQL.unwatch('orders')}</pre>`}
  </section>`;
}
