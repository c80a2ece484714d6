// What is loaded by GraphQL, and how it comes to be on the page.

import { batch, signal } from './lib/ui.js';
import { graphql } from './graphql.js';
import { withEarlier } from './comments.js';
import { beginLoad, change, extend, ids, newer, older, peekMessage, refresh, replaceAll } from './messages.js';
import { setNotifications } from './notifications.js';
import { learn, online, setOnline } from './people.js';
import { compare, justAfter, moment } from './place.js';
import { believed, me, renew } from './session.js';
import { order } from './settings.js';

const page = 25;
const commentPage = 100;

/** What the service has refused is not asked for again: who is online and comments need not be for everybody who may read. */
const allowed = { presence: true, comments: true };
export const commentsAllowed = signal(true);

const user = `fragment U on User { id username displayName online @include(if: $presence) lastSeen @include(if: $presence) }`;
const comment = `fragment C on Comment { id content createdAt updatedAt author { ...U } } ${user}`;
const message = `fragment M on Message { id title content createdAt updatedAt author { ...U }
  commentCount @include(if: $comments) comments(last: 3) @include(if: $comments) { nodes { ...C } pageInfo { startCursor } } } ${comment}`;
const flags = '$presence: Boolean!, $comments: Boolean!';

const first = `query Load($first: Int!, $order: Order!, $signedIn: Boolean!, ${flags}) {
  liveCursor
  me { ...U role }
  messages(first: $first, order: $order) { nodes { ...M } pageInfo { hasNextPage endCursor } }
  onlineUsers(first: 100) @include(if: $presence) { nodes { ...U } }
  notifications(first: 20) @include(if: $signedIn) { unreadCount nodes { ...N } pageInfo { hasNextPage endCursor } }
}
fragment N on Notification { id kind createdAt readAt actor { ...U } message { id title } comment { id content } }
${message}`;

const more = `query More($first: Int!, $order: Order!, $after: String, $filter: MessageFilter, ${flags}) {
  messages(first: $first, order: $order, after: $after, filter: $filter) { nodes { ...M } pageInfo { hasNextPage endCursor } }
}
${message}`;

const earlier = `query Earlier($id: ID!, $last: Int!, $before: String, ${flags}) {
  message(id: $id) { commentCount comments(last: $last, before: $before) @include(if: $comments) { nodes { ...C } pageInfo { hasPreviousPage startCursor } } }
}
${comment}`;

// Asks with the flags, and without what is refused.
async function ask(query, variables) {
  for (;;) {
    try {
      return await graphql(query, { ...variables, ...allowed });
    } catch (error) {
      const path = (error.path ?? []).map(String);
      if (error.code !== 'FORBIDDEN' && error.code !== 'UNAUTHENTICATED') throw error;
      if (allowed.presence && path.some((part) => ['onlineUsers', 'online', 'lastSeen'].includes(part))) allowed.presence = false;
      else if (allowed.comments && path.some((part) => ['comments', 'commentCount'].includes(part))) allowed.comments = false;
      else if (variables.signedIn && path.includes('notifications')) variables = { ...variables, signedIn: false }; // the session has just ended
      else throw error;
    }
  }
}

const orders = { newest: 'NEWEST_FIRST', oldest: 'OLDEST_FIRST' };
const end = (info) => ({ more: info.hasNextPage, cursor: info.endCursor ?? '' });
const nothing = { more: false, cursor: '' };

/**
 * Loads the first page and all that belongs to it, and returns the cursor from which to follow it. `keep`: as many messages as there are.
 * Null, if it is not `current` any more when it is there.
 */
export async function loadFirst(keep, current) {
  Object.assign(allowed, { presence: true, comments: true });
  const variables = { first: keep ? Math.min(100, Math.max(page, ids.peek().length)) : page, order: orders[order.peek()] };
  let answer = await ask(first, { ...variables, signedIn: me.peek() !== null || believed() });
  if (answer.me === null && believed() && (await renew())) answer = await ask(first, { ...variables, signedIn: true });
  if (answer.me !== null && answer.notifications === undefined) answer = await ask(first, { ...variables, signedIn: true });
  if (!current()) return null;
  batch(() => {
    me.value = answer.me && { ...answer.me, role: answer.me.role.toLowerCase() };
    learn(answer.me);
    setOnline(allowed.presence ? answer.onlineUsers?.nodes ?? [] : null);
    commentsAllowed.value = allowed.comments;
    const beyond = end(answer.messages.pageInfo);
    replaceAll(answer.messages.nodes, order.peek() === 'newest' ? { older: beyond, newer: nothing } : { older: nothing, newer: beyond });
    setNotifications(answer.notifications ?? null);
  });
  return answer.liveCursor;
}

export const channels = () => [
  'messages',
  ...(allowed.comments ? ['comments'] : []),
  ...(online.peek() === null ? [] : ['presence']),
  ...(me.peek() === null ? [] : [`notifications:${me.peek().id}`]),
];

/** Loads more beyond an end, `older` or `newer`. */
export async function loadMore(which) {
  const known = which === 'older' ? older.peek() : newer.peek();
  const list = ids.peek();
  const last = peekMessage(which === 'older' ? list[0] : list[list.length - 1]);
  const beyond = (node) => !last || (which === 'older' ? compare(placeOf(node), last) < 0 : compare(placeOf(node), last) > 0);
  const load = beginLoad();
  try {
    // Where the cursor is not known, the way goes by the moment, of which there may be many messages.
    const byMoment = known.cursor === '' && last;
    const filter = !byMoment ? null : which === 'older' ? { createdBefore: justAfter(last.createdAt) } : { createdFrom: last.createdAt };
    let after = known.cursor || null;
    for (;;) {
      const { messages } = await ask(more, { first: page, order: which === 'older' ? orders.newest : orders.oldest, after, filter });
      const nodes = messages.nodes.filter(beyond);
      after = messages.pageInfo.endCursor;
      if (nodes.length === 0 && messages.pageInfo.hasNextPage) continue;
      doubt(extend(nodes, load, which, end(messages.pageInfo)));
      return;
    }
  } catch (error) {
    load.end();
    throw error;
  }
}

const placeOf = (node) => ({ id: node.id, createdAt: moment(node.createdAt) });

/** Loads the newest, or the oldest, in place of what there is, where that is not what follows the events from the beginning. */
export async function loadEnd(which) {
  const load = beginLoad();
  try {
    const { messages } = await ask(more, { first: page, order: which === 'newest' ? orders.newest : orders.oldest });
    const beyond = end(messages.pageInfo);
    const ends = which === 'newest' ? { older: beyond, newer: nothing } : { older: nothing, newer: beyond };
    batch(() => {
      replaceAll([], ends, load);
      doubt(extend(messages.nodes, load, which === 'newest' ? 'older' : 'newer', beyond));
    });
  } catch (error) {
    load.end();
    throw error;
  }
}

/** Has a message on the page, with its neighbours: false, where it is not there any more. */
export async function loadAround(id) {
  if (peekMessage(id)) return true;
  const load = beginLoad();
  try {
    const one = await ask(`query One($id: ID!, ${flags}) { message(id: $id) { ...M } } ${message}`, { id });
    if (one.message === null) {
      load.end();
      return false;
    }
    const at = moment(one.message.createdAt);
    const before = await ask(more, { first: 10, order: orders.newest, filter: { createdBefore: at } });
    const nodes = before.messages.nodes;
    let after = null;
    for (let size = 15, found = false; !found && (after === null || after.hasNextPage); size = 100) {
      const { messages } = await ask(more, { first: size, order: orders.oldest, filter: { createdFrom: at }, after: after?.endCursor });
      nodes.push(...messages.nodes);
      after = messages.pageInfo;
      found = messages.nodes.some((node) => node.id === id);
    }
    batch(() => {
      replaceAll([], { older: end(before.messages.pageInfo), newer: end(after) }, load);
      doubt(extend(nodes, load, 'newer', end(after)));
    });
    return true;
  } catch (error) {
    load.end();
    throw error;
  }
}

/** Loads comments that are older than those on the page. */
export async function loadEarlier(id) {
  const load = beginLoad();
  try {
    const answer = await ask(earlier, { id, last: commentPage, before: peekMessage(id)?.earlier || null });
    if (answer.message) change(id, (now) => withEarlier(now, answer.message));
    if (load.commented.has(id)) doubt([id]);
  } finally {
    load.end();
  }
}

// Messages of which it is not certain which comments are counted are read again, when nothing has happened to them for a while.
const doubtful = new Set();
let timer = null;
const quiet = 1500; // ms

export function doubt(list) {
  for (const id of list) doubtful.add(id);
  if (doubtful.size === 0) return;
  clearTimeout(timer);
  timer = setTimeout(settle, quiet);
}

async function settle() {
  for (const id of doubtful) if (!peekMessage(id)) doubtful.delete(id);
  const list = [...doubtful].slice(0, 20);
  for (const id of list) doubtful.delete(id);
  doubt([]);
  if (list.length === 0) return;
  const load = beginLoad();
  try {
    const answer = await ask(`query Again(${flags}) { ${list.map((id) => `m${id}: message(id: "${id}") { ...M }`).join(' ')} } ${message}`, {});
    doubt(refresh(list.map((id) => [id, answer[`m${id}`]]), load));
  } catch {
    load.end();
    doubt(list);
  }
}
