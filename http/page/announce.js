// What a screen reader says when something happens: not more than it can say.

import { html, signal } from './lib/ui.js';
import { t } from './i18n.js';
import { userOf } from './people.js';

const pause = 2500; // ms

const said = signal('');
let waiting = [];
let timer = null;

export function announce(text) {
  waiting.push({ text });
  timer ??= setTimeout(speak, 100);
}

function later(what) {
  waiting.push(what);
  timer ??= setTimeout(speak, 800);
}

/** Nothing that one has to know. */
export const announceMessage = (author, title) => later({ author, title });
export const announceComment = (author, messageId) => later({ author, messageId });

const nameOf = (id) => userOf(id)?.displayName ?? t('somebody');

function speak() {
  const messages = waiting.filter((one) => one.title !== undefined);
  const comments = waiting.filter((one) => one.messageId !== undefined);
  const parts = waiting.filter((one) => one.text !== undefined).map((one) => one.text);
  if (messages.length === 1) parts.push(t('announce.message', { name: nameOf(messages[0].author), title: messages[0].title }));
  if (messages.length > 1) parts.push(t('announce.messages', { n: messages.length }));
  if (comments.length === 1) parts.push(t('announce.comment', { name: nameOf(comments[0].author) }));
  if (comments.length > 1) parts.push(t('announce.comments', { n: comments.length }));
  waiting = [];
  said.value = parts.join(' ');
  timer = setTimeout(() => {
    timer = null;
    if (waiting.length > 0) speak();
    else said.value = '';
  }, pause);
}

export const Announcer = () => html`<p class="unseen" aria-live="polite" data-announcer>${said}</p>`;
