// What was written here and is not known to be done. Each thing has a random key: sent again, it is not done again. So what was not answered
// may be sent until it is, also by the next visit to this page.

import { batch, signal } from './lib/ui.js';
import { uncommentedAlready, commented, commentOf } from './comments.js';
import { graphql } from './graphql.js';
import { keep, kept, keysOf } from './kept.js';
import { catchUp } from './live.js';
import { beginLoad, change, outdated, peekMessage, remove, written } from './messages.js';
import { me } from './session.js';

/** {key, kind, input, messageId, commentId, state: 'sending' | 'waiting' | 'failed', error, shown, at}; `shown`: the row that it has become. */
export const outbox = signal([]);
/** The id of the message that was sent last. */
export const sentMessage = signal(null);

const author = 'author { id username displayName }';
const messageFields = `id title content createdAt updatedAt ${author}`;
const commentFields = `id content createdAt updatedAt ${author}`;

const mutations = {
  createMessage: `mutation Do($input: CreateMessageInput!) { done: createMessage(input: $input) { message { ${messageFields} } } }`,
  updateMessage: `mutation Do($input: UpdateMessageInput!) { done: updateMessage(input: $input) { message { ${messageFields} } } }`,
  deleteMessage: 'mutation Do($input: DeleteMessageInput!) { done: deleteMessage(input: $input) { id } }',
  createComment: `mutation Do($input: CreateCommentInput!) { done: createComment(input: $input) { comment { ${commentFields} } } }`,
  updateComment: `mutation Do($input: UpdateCommentInput!) { done: updateComment(input: $input) { comment { ${commentFields} } } }`,
  deleteComment: 'mutation Do($input: DeleteCommentInput!) { done: deleteComment(input: $input) { id } }',
};

const applied = {
  createMessage: (entry, { message }, load) => {
    written(message, load);
    sentMessage.value = message.id;
  },
  updateMessage: (entry, { message }, load) => written(message, load),
  deleteMessage: (entry) => remove(entry.messageId),
  createComment: (entry, { comment }, load) => {
    // Where all was loaded anew meanwhile, it is counted already; where comments have come or gone, its own event may be among them.
    const known = peekMessage(entry.messageId)?.comments.some(({ id }) => id === comment.id);
    if (!outdated(load) && (known || !load.commented.has(entry.messageId))) change(entry.messageId, (message) => commented(message, commentOf(comment, message.id), true));
  },
  updateComment: (entry, { comment }) => change(entry.messageId, (message) => commented(message, commentOf(comment, message.id), false)),
  deleteComment: (entry) => change(entry.messageId, (message) => uncommentedAlready(message, entry.commentId)),
};

const kinds = ['createMessage', 'createComment']; // what is kept: a change or a deletion is done soon, or not at all
const place = (entry) => `outbox.${entry.user}.${entry.key}`;

const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

const put = (key, values) => {
  outbox.value = outbox.peek().map((entry) => (entry.key === key ? { ...entry, ...values } : entry));
};
const find = (key) => outbox.peek().find((entry) => entry.key === key);

function drop(key) {
  const entry = find(key);
  if (!entry) return;
  if (kinds.includes(entry.kind)) keep(place(entry), null);
  outbox.value = outbox.peek().filter((other) => other.key !== key);
}

/** Does something, and shows it as if it was done. */
export function submit(kind, input, { messageId = null, commentId = null } = {}) {
  const key = newKey();
  const entry = { key, kind, input, messageId, commentId, user: me.peek().id, state: 'sending', at: new Date().toISOString() };
  if (kinds.includes(kind)) keep(place(entry), entry);
  batch(() => {
    // A newer change of the same thing takes the place of one that has failed.
    const same = outbox.peek().filter((other) => other.state === 'failed' && other.kind === kind && !kinds.includes(kind) && other.messageId === messageId && other.commentId === commentId);
    for (const other of same) drop(other.key);
    outbox.value = [...outbox.peek(), entry];
  });
  send(key);
  return key;
}

const underWay = new Set();
let retry = null;

async function send(key) {
  const entry = find(key);
  if (!entry || underWay.has(key) || entry.user !== me.peek()?.id) return;
  underWay.add(key);
  put(key, { state: 'sending', error: null });
  const load = beginLoad();
  try {
    const { done } = await graphql(mutations[entry.kind], { input: { ...entry.input, clientMutationId: key } });
    catchUp();
    batch(() => {
      applied[entry.kind](entry, done, load);
      drop(key);
    });
  } catch (error) {
    if (error.code === 'NOT_FOUND' && entry.kind.startsWith('delete')) drop(key); // it is what was wanted
    else if (error.unanswered) wait(key);
    else put(key, { state: 'failed', error: { code: error.code, message: error.message, field: error.field, retryAfter: error.retryAfter } });
  } finally {
    load.end();
    underWay.delete(key);
  }
}

function wait(key) {
  put(key, { state: 'waiting' });
  retry ??= setTimeout(() => {
    retry = null;
    sendAll();
  }, 5000 + Math.random() * 5000);
}

/** Sends what waits, in the order in which it was written. */
export async function sendAll() {
  for (const { key } of outbox.peek().filter((entry) => entry.state === 'waiting')) {
    await send(key);
    if (find(key)?.state === 'waiting') return; // there is still nobody there
  }
}

export const sendAgain = (key) => send(key);
export const discard = (key) => drop(key);

/** Takes up what an earlier visit has left, and forgets what is somebody else's. */
export function resume() {
  const user = me.peek()?.id;
  const mine = outbox.peek().filter((entry) => entry.user === user);
  const known = new Set(mine.map((entry) => entry.key));
  const left = user === undefined ? [] : keysOf(`outbox.${user}.`).filter((key) => !known.has(key)).map((key) => kept(`outbox.${user}.${key}`)).filter((entry) => entry?.key);
  outbox.value = [...mine, ...left.map((entry) => ({ ...entry, state: 'waiting' }))].sort((a, b) => (a.at < b.at ? -1 : 1));
  sendAll();
}

/** Recognises one's own message or comment when its event is there before the answer, so that it is not seen twice. */
export function recognise(kind, row) {
  if (String(row.author_id) !== me.peek()?.id) return;
  const same = outbox.peek().find((entry) => entry.kind === kind && entry.state !== 'failed' && !entry.shown && entry.input.content === row.content
    && (kind === 'createMessage' ? entry.input.title === row.title : entry.messageId === String(row.message_id)));
  if (same) put(same.key, { shown: String(row.id) });
}
