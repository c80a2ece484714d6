// Where messages and comments are written, and changed. What is begun is kept until it is sent.

import { html, signal, useEffect, useId, useLayoutEffect, useRef, useSignal, useSignalEffect } from './lib/ui.js';
import { draft, keepDraft } from './drafts.js';
import { t } from './i18n.js';
import { connection } from './live.js';
import { typing } from './typing.js';

const mac = /mac|iphone|ipad/i.test(navigator.userAgentData?.platform ?? navigator.platform ?? '');
const sends = (event) => event.key === 'Enter' && (event.ctrlKey || event.metaKey) && !event.isComposing;

// A text field that is as high as its text.
function Growing({ value, field, ...rest }) {
  const own = useRef(null);
  const element = field ?? own;
  useLayoutEffect(() => {
    if (CSS.supports('field-sizing', 'content')) return;
    element.current.style.height = 'auto';
    element.current.style.height = `${Math.min(element.current.scrollHeight + 2, innerHeight / 2)}px`;
  }, [value]);
  return html`<textarea ref=${element} value=${value} ...${rest}></textarea>`;
}

/** The text that is being written at a place, kept there. */
function useDraft(place, otherwise) {
  const value = useSignal(null);
  if (value.peek() === null) value.value = draft(place) ?? otherwise;
  const timer = useRef(null);
  const latest = useRef(null);
  const store = () => {
    clearTimeout(timer.current);
    if (latest.current === null) return;
    keepDraft(place, Object.keys(otherwise).every((name) => latest.current[name] === otherwise[name]) ? null : latest.current);
    latest.current = null;
  };
  useEffect(() => {
    addEventListener('pagehide', store);
    return () => {
      removeEventListener('pagehide', store);
      store();
    };
  }, [place]);
  return {
    value: value.value,
    set(values) {
      value.value = latest.current = { ...value.peek(), ...values };
      clearTimeout(timer.current);
      timer.current = setTimeout(store, 250);
    },
    /** Forgets it. */
    clear() {
      clearTimeout(timer.current);
      latest.current = null;
      keepDraft(place, null);
      value.value = otherwise;
    },
  };
}

const empty = { title: '', content: '' };

// What is being changed, by its place.
const edits = new Map();
/** What was being changed when it was deleted. */
export const orphan = signal(null);
/** What the place for a new message is to have. */
export const offered = signal(null);

/** The thing at a place was deleted: if somebody was changing it, his text is not. */
export function deleted(place) {
  const text = edits.get(place);
  if (text) orphan.value = { title: '', ...text };
}

/** Where a new message is written. `onSend({title, content})`. */
export function NewMessage({ onSend }) {
  const text = useDraft('new', empty);
  const problem = useSignal(false);
  const open = useSignal(text.value.title !== '' || text.value.content !== '');
  const id = useId();
  const title = useRef(null);
  useSignalEffect(() => {
    if (offered.value === null) return;
    text.set(offered.value);
    offered.value = null;
    title.current.focus();
  });
  const send = (event) => {
    event?.preventDefault();
    if (text.value.title.trim() === '') {
      problem.value = true;
      title.current.focus();
      return;
    }
    onSend({ title: text.value.title.trim(), content: text.value.content.trimEnd() });
    text.clear();
    open.value = false;
    title.current.focus();
  };
  const input = (values) => {
    problem.value = false;
    text.set(values);
    typing('messages');
  };
  const opened = open.value || text.value.title !== '' || text.value.content !== '';
  return html`<form class="composer" aria-label=${t('compose')} data-composer="new" onSubmit=${send}
    onKeyDown=${(event) => { if (sends(event)) send(event); }} onFocusIn=${() => { open.value = true; }}>
    <label class="unseen" for="${id}-title">${t('compose.title')}</label>
    <input id="${id}-title" class="title" name="title" ref=${title} value=${text.value.title} maxlength="500" autocomplete="off" data-compose
      placeholder=${t('compose.title.placeholder')} aria-invalid=${problem.value} aria-describedby=${problem.value ? `${id}-problem` : undefined}
      onInput=${(event) => input({ title: event.currentTarget.value })} />
    ${problem.value && html`<p class="problem" id="${id}-problem" role="alert">${t('compose.title.needed')}</p>`}
    <div class="more" hidden=${!opened}>
      <label class="unseen" for="${id}-content">${t('compose.content')}</label>
      <${Growing} id="${id}-content" name="content" rows="2" value=${text.value.content} placeholder=${t('compose.content.placeholder')}
        onInput=${(event) => input({ content: event.currentTarget.value })} />
      <div class="buttons">
        ${connection.value === 'offline' ? html`<span class="hint">${t('state.offline.more')}</span>` : html`<span class="hint keys">${t('compose.keys', { key: mac ? '⌘' : 'Ctrl' })}</span>`}
        <button type="submit" class="primary">${t('compose.send')}</button>
      </div>
    </div>
  </form>`;
}

/** Where a comment on a message is written. `onSend(content)`. */
export function NewComment({ messageId, title, onSend, onCancel }) {
  const text = useDraft(`comment.${messageId}`, { content: '' });
  const field = useRef(null);
  const send = (event) => {
    event?.preventDefault();
    field.current.focus();
    if (text.value.content.trim() === '') return;
    onSend(text.value.content.trimEnd());
    text.clear();
  };
  const keys = (event) => {
    if (sends(event)) send(event);
    else if (event.key === 'Escape') {
      event.stopPropagation();
      onCancel();
    }
  };
  return html`<form class="composer small" aria-label=${t('comment.on', { title })} data-composer="comment" onSubmit=${send} onKeyDown=${keys}>
    <${Growing} field=${field} name="content" rows="1" value=${text.value.content} aria-label=${t('comment.on', { title })} placeholder=${t('comment.placeholder')}
      onInput=${(event) => { text.set({ content: event.currentTarget.value }); typing(`comments:${messageId}`); }} />
    <div class="buttons">
      <button type="button" class="quiet" onClick=${onCancel}>${t('cancel')}</button>
      <button type="submit" class="primary" disabled=${text.value.content.trim() === ''}>${t('compose.send')}</button>
    </div>
  </form>`;
}

/** Changes a message or a comment: what is in `was`. `onSave(values)` where something has changed, `onCancel()`; `place` is the draft's. */
export function Edit({ place, label, was, onSave, onCancel }) {
  const withTitle = 'title' in was;
  const before = useRef(was);
  const text = useDraft(`edit.${place}`, before.current);
  const field = useRef(null);
  useLayoutEffect(() => { field.current.focus(); }, []);
  useEffect(() => {
    edits.set(place, text.value);
    return () => edits.delete(place);
  }, [text.value]);
  const changed = Object.keys(was).some((name) => was[name] !== before.current[name]);
  const complete = withTitle ? text.value.title.trim() !== '' : text.value.content.trim() !== '';
  const save = (event) => {
    event.preventDefault();
    if (!complete) return;
    const values = Object.fromEntries(Object.keys(was).map((name) => [name, name === 'title' ? text.value.title.trim() : text.value[name].trimEnd()]));
    text.clear();
    if (Object.keys(was).every((name) => values[name] === was[name])) onCancel();
    else onSave(values);
  };
  const cancel = () => {
    text.clear();
    onCancel();
  };
  const take = () => {
    before.current = was;
    text.set(was);
  };
  const keys = (event) => {
    if (sends(event)) save(event);
    else if (event.key === 'Escape') {
      event.stopPropagation();
      cancel();
    }
  };
  return html`<form class="composer editing" aria-label=${label} data-composer="edit" onSubmit=${save} onKeyDown=${keys}>
    ${withTitle && html`<input class="title" name="title" ref=${field} value=${text.value.title} maxlength="500" autocomplete="off" aria-label=${t('compose.title')}
      onInput=${(event) => text.set({ title: event.currentTarget.value })} />`}
    <${Growing} field=${withTitle ? undefined : field} name="content" rows="2" value=${text.value.content} aria-label=${withTitle ? t('compose.content') : label}
      onInput=${(event) => text.set({ content: event.currentTarget.value })} />
    ${changed && html`<p class="problem" role="alert">${t('changedMeanwhile')} <button type="button" class="link" onClick=${take}>${t('changedMeanwhile.take')}</button></p>`}
    <div class="buttons">
      <button type="button" class="quiet" onClick=${cancel}>${t('cancel')}</button>
      <button type="submit" class="primary" disabled=${!complete}>${t('save')}</button>
    </div>
  </form>`;
}
