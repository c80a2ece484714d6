// The messages, one below the other, and more of them as one scrolls.

import { computed, html, signal, useEffect, useLayoutEffect, useRef, useSignalEffect } from './lib/ui.js';
import { errorText, t } from './i18n.js';
import { Icon } from './icons.js';
import { loadEnd, loadMore } from './load.js';
import { connection } from './live.js';
import { Message } from './message.js';
import { atNewest, ids, newer, older, unseen } from './messages.js';
import { phase } from './start.js';
import { order } from './settings.js';

const anchors = CSS.supports('overflow-anchor', 'auto');
const loading = { older: signal(false), newer: signal(false) };
const problems = { older: signal(null), newer: signal(null) };

const shown = computed(() => (order.value === 'newest' ? [...ids.value].reverse() : ids.value));

// The same element for the same message: then only what is new has to be looked at.
const made = new Map();
function elements(list) {
  for (const id of made.keys()) if (!list.includes(id)) made.delete(id);
  return list.map((id) => {
    if (!made.has(id)) made.set(id, html`<${Message} key=${id} id=${id} />`);
    return made.get(id);
  });
}

async function more(which) {
  if (loading[which].peek() || !(which === 'older' ? older : newer).peek().more) return;
  loading[which].value = true;
  problems[which].value = null;
  try {
    await loadMore(which);
  } catch (error) {
    problems[which].value = error;
  }
  loading[which].value = false;
}

/** Goes to the newest message. */
async function toNewest() {
  if (newer.peek().more) await loadEnd('newest');
  unseen.value = 0;
  requestAnimationFrame(() => {
    const list = document.querySelectorAll('#messages > article');
    const newest = order.peek() === 'newest' ? list[0] : list[list.length - 1];
    if (order.peek() === 'newest') scrollTo({ top: 0 });
    else newest?.scrollIntoView({ block: 'center' });
    newest?.focus({ preventScroll: true });
  });
}

// Loads more when it comes near, and says whether the end is looked at.
function End({ which }) {
  const element = useRef(null);
  const far = which === 'older' ? older : newer;
  useEffect(() => {
    const near = new IntersectionObserver((entries) => {
      if (entries.at(-1).isIntersecting) more(which);
    }, { rootMargin: '800px' });
    near.observe(element.current);
    const here = which !== 'newer' ? null : new IntersectionObserver((entries) => { atNewest.value = entries.at(-1).isIntersecting; }, { rootMargin: '80px' });
    here?.observe(element.current);
    return () => {
      near.disconnect();
      here?.disconnect();
    };
  }, [which]);
  // What was loaded may not have filled the window.
  useSignalEffect(() => {
    if (loading[which].value || problems[which].value || !far.value.more || connection.value !== 'live') return;
    requestAnimationFrame(() => {
      const box = element.current?.getBoundingClientRect();
      if (box && box.top < innerHeight + 800 && box.bottom > -800) more(which);
    });
  });
  const problem = problems[which].value;
  return html`<div class="end" ref=${element} data-end=${which} data-more=${far.value.more}>
    ${problem && html`<p class="problem" role="alert">${t('messages.more.failed')} ${errorText(problem)} <button type="button" class="link" onClick=${() => more(which)}>${t('again')}</button></p>`}
    ${loading[which].value && html`<${Skeleton} />`}
    ${which === 'older' && !far.value.more && ids.value.length > 5 && html`<p class="hint">${t('messages.begin')}</p>`}
  </div>`;
}

const Skeleton = () => html`<div class="skeleton" aria-hidden="true"><span></span><div><i></i><i></i><i></i></div></div>`;

// Keeps what is read where it is, when something comes above it, in browsers that don't do so themselves.
function useAnchor() {
  const anchor = useRef(null);
  useEffect(() => {
    if (anchors) return undefined;
    const note = () => {
      const first = [...document.querySelectorAll('#messages > article')].find((article) => article.getBoundingClientRect().bottom > 0);
      anchor.current = first && scrollY > 80 ? { id: first.id, top: first.getBoundingClientRect().top } : null;
    };
    addEventListener('scroll', note, { passive: true });
    return () => removeEventListener('scroll', note);
  }, []);
  useLayoutEffect(() => {
    const before = anchor.current;
    const now = before && document.getElementById(before.id);
    if (now) scrollBy(0, now.getBoundingClientRect().top - before.top);
  }, [shown.value]);
}

// Page Down and Page Up, j and k go from one message to the next, as in other feeds.
function keys(event) {
  const step = { PageDown: 1, j: 1, PageUp: -1, k: -1 }[event.key];
  if (!step || event.target.matches('input, textarea, select') || event.ctrlKey || event.metaKey || event.altKey) return;
  const now = event.target.closest('article');
  const next = step > 0 ? now?.nextElementSibling : now?.previousElementSibling;
  if (!next?.matches('article')) return;
  event.preventDefault();
  next.focus();
}

export function Feed() {
  const list = useRef(null);
  const all = shown.value;
  useAnchor();
  useLayoutEffect(() => {
    let n = 0;
    const size = older.peek().more || newer.peek().more ? -1 : all.length;
    for (const article of list.current?.children ?? []) {
      article.ariaPosInSet = String(++n);
      article.ariaSetSize = String(size);
    }
  }, [all]);
  if (phase.value === 'loading') return html`<div class="feed" aria-busy="true">${connection.value === 'offline' ? html`<p class="empty">${t('load.waiting')}</p>` : html`<p class="unseen">${t('loading')}</p>`}${[0, 1, 2, 3].map((n) => html`<${Skeleton} key=${n} />`)}</div>`;
  const ends = order.value === 'newest' ? ['newer', 'older'] : ['older', 'newer'];
  const empty = all.length === 0 && !older.value.more && !newer.value.more;
  return html`<${End} key=${ends[0]} which=${ends[0]} />
    ${empty && html`<div class="empty"><p class="large">${t('messages.empty')}</p><p>${t('messages.empty.more')}</p></div>`}
    <div id="messages" class="feed" role="feed" ref=${list} aria-label=${t('messages')} aria-busy=${loading.older.value || loading.newer.value} onKeyDown=${keys}>${elements(all)}</div>
    <${End} key=${ends[1]} which=${ends[1]} />`;
}

/** How many have come while one reads elsewhere. */
export function Unseen() {
  const n = unseen.value;
  useSignalEffect(() => { if (atNewest.value && !newer.value.more) unseen.value = 0; });
  if (n === 0) return null;
  const up = order.value === 'newest';
  return html`<button type="button" class="pill" data-unseen data-at=${up ? 'top' : 'bottom'} onClick=${toNewest}><${Icon} name=${up ? 'up' : 'down'} /> ${t('messages.new', { n })}</button>`;
}
