// The form by which a table is made live, with the SQL that does the same beside it.

import { html, useSignal } from '../lib/ui.js';
import { errorText } from './errors.js';
import { t } from './i18n.js';
import { watchSQL } from './sql.js';

/** `tables` are those to choose from; `watched`, if not null, is the one to be changed. */
export function WatchForm({ tables, watched, watch, close }) {
  const table = useSignal(watched?.table ?? '');
  const topic = useSignal(watched?.topic ?? '');
  const event = useSignal(watched?.event ?? '');
  const key = useSignal(watched?.key ?? '');
  const all = useSignal((watched?.columns ?? null) === null);
  const columns = useSignal(watched?.columns ?? []);
  const [kind, of = ''] = (watched?.read ?? 'signed_in').split(/:(.*)/s);
  const read = useSignal(kind);
  const owner = useSignal(kind === 'owner' ? of : '');
  const policy = useSignal(kind === 'policy' ? of : '');
  const error = useSignal(null);
  const busy = useSignal(false);

  const chosen = tables.find((one) => one.name === table.value);
  const there = chosen?.columns ?? [];
  const input = {
    table: table.value,
    topic: topic.value.trim() || null,
    event: event.value.trim() || null,
    key: key.value || null,
    columns: all.value ? null : columns.value,
    read: { owner: `owner:${owner.value}`, policy: `policy:${policy.value.trim()}` }[read.value] ?? read.value,
  };
  const submit = async (e) => {
    e.preventDefault();
    busy.value = true;
    error.value = null;
    try {
      await watch(input);
    } catch (wrong) {
      error.value = wrong;
    }
    busy.value = false;
  };
  const choose = (name) => {
    table.value = name;
    topic.value = event.value = key.value = owner.value = '';
    all.value = true;
    columns.value = tables.find((one) => one.name === name)?.columns ?? [];
  };
  const set = (to) => (e) => { to.value = e.target.value; };
  const wrong = (field) => error.value?.field === field;
  const problem = (field) => wrong(field) && html`<span class="error" role="alert">${errorText(error.value)}</span>`;

  return html`<form name="watch" class="fields card" onSubmit=${submit} aria-labelledby="watch-form-title">
    <h3 id="watch-form-title" class="wide">${watched === null ? t('watch.title') : t('watch.titleOf', { table: watched.table })}</h3>
    <label class="wide">${t('column.table')} <select name="table" required value=${table.value} disabled=${watched !== null} aria-invalid=${wrong('table')} onChange=${(e) => choose(e.target.value)}>
      <option value="">${t('watch.choose')}</option>
      ${watched !== null && chosen === undefined && html`<option value=${watched.table}>${watched.table}</option>`}
      ${tables.map((one) => html`<option key=${one.name} value=${one.name}>${one.name}${one.watched ? ` · ${t('watch.already')}` : ''}</option>`)}
    </select> ${problem('table')}</label>
    ${chosen?.rowSecurity && html`<p class="none wide">${t('watch.rows')}</p>`}
    <label>${t('column.key')} <select name="key" value=${key.value} aria-invalid=${wrong('key')} onChange=${set(key)}>
      <option value="">${chosen?.key ? t('watch.primary', { key: chosen.key }) : t('watch.noPrimary')}</option>
      ${there.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select> ${problem('key')}</label>
    <label>${t('column.read')} <select name="read" value=${read.value} aria-invalid=${wrong('read')} onChange=${set(read)}>
      ${['public', 'signed_in', 'owner', 'policy'].map((one) => html`<option value=${one}>${t(`read.${one}`)}</option>`)}
    </select> ${problem('read')}</label>
    ${read.value === 'owner' && html`<label class="wide">${t('watch.owner')} <select name="owner" required value=${owner.value} onChange=${set(owner)}>
      <option value="">${t('watch.choose')}</option>${there.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>`}
    ${read.value === 'policy' && html`<label class="wide">${t('watch.policy')} <input name="policy" required spellcheck="false" placeholder="app.may_read" value=${policy.value} onInput=${set(policy)} /></label>`}
    <fieldset class="wide"><legend>${t('column.columns')}</legend>
      <label class="check"><input type="checkbox" name="all" checked=${all.value} onChange=${(e) => { all.value = e.target.checked; if (columns.value.length === 0) columns.value = there; }} /> ${t('watch.all')}</label>
      ${!all.value && there.map((name) => html`<label key=${name} class="check"><input type="checkbox" checked=${columns.value.includes(name)}
        onChange=${(e) => { columns.value = there.filter((one) => (one === name ? e.target.checked : columns.value.includes(one))); }} /> ${name}</label>`)}
      ${problem('columns')}
    </fieldset>
    <label>${t('watch.topic')} <input name="topic" maxlength="63" spellcheck="false" value=${topic.value} aria-invalid=${wrong('topic')} onInput=${set(topic)} /> ${problem('topic')}</label>
    <label>${t('watch.event')} <input name="event" maxlength="63" spellcheck="false" value=${event.value} aria-invalid=${wrong('event')} onInput=${set(event)} /> ${problem('event')}</label>
    <div class="wide"><p class="none">${t('watch.same')}</p><pre id="watch-sql">${table.value === '' ? '…' : watchSQL.watch(input)}</pre></div>
    ${error.value !== null && !['table', 'key', 'read', 'columns', 'topic', 'event'].includes(error.value.field) && html`<p class="error wide" role="alert">${errorText(error.value)}</p>`}
    <div class="buttons wide"><button type="button" onClick=${close}>${t('cancel')}</button>
      <button type="submit" class="main" disabled=${busy.value || table.value === '' || (!all.value && columns.value.length === 0)}>${watched === null ? t('watch.do') : t('watch.doChange')}</button></div>
  </form>`;
}
