// Who is who, and who is there.

import { batch, signal } from './lib/ui.js';
import { graphql } from './graphql.js';

const users = new Map(); // id -> signal of {id, username, displayName}, of null: not known yet, of false: there is none

/** Who is online: user id -> since when. Null: it is not told. */
export const online = signal(new Map());
/** When users who are not online were here last: user id -> when. */
export const lastSeen = signal(new Map());

function slot(id) {
  let user = users.get(id);
  if (user === undefined) users.set(id, (user = signal(null)));
  return user;
}

/** The user; null while not known; false: there is none. Who draws with it is drawn anew when it is known. */
export function userOf(id) {
  if (id === null) return false;
  const user = slot(id);
  if (user.peek() === null) ask(id);
  return user.value;
}

/** Learns of users as GraphQL tells of them. */
export function learn(user) {
  if (!user) return null;
  const known = slot(user.id);
  const was = known.peek();
  if (!was || was.username !== user.username || was.displayName !== user.displayName) {
    known.value = { id: user.id, username: user.username, displayName: user.displayName };
  }
  if (user.online === false && user.lastSeen && !lastSeen.peek().has(user.id)) seen(user.id, user.lastSeen);
  return user.id;
}

function seen(id, when) {
  lastSeen.value = new Map(lastSeen.peek()).set(id, when);
}

export function setOnline(list) {
  batch(() => {
    for (const user of list ?? []) learn(user);
    online.value = list === null ? null : new Map(list.map((user) => [user.id, '']));
  });
}

/** Applies an event of presence. */
export function applyPresence({ type, data }) {
  if (online.peek() === null || data === null) return;
  const now = new Map(online.peek());
  if (type === 'user_online') now.set(String(data.user), data.since);
  if (type === 'user_offline') {
    now.delete(String(data.user));
    seen(String(data.user), data.last_seen);
  }
  online.value = now;
}

// Names are asked for once by all who need them at the same moment.
const wanted = new Set();
const asking = new Set();
let timer = null;

function ask(id) {
  if (wanted.has(id) || asking.has(id)) return;
  wanted.add(id);
  timer ??= setTimeout(askAll, 10);
}

async function askAll() {
  timer = null;
  for (const id of wanted) {
    if (/^\d{1,18}$/.test(id)) continue;
    wanted.delete(id); // named by somebody else's tokens
    slot(id).value = false;
  }
  const ids = [...wanted].slice(0, 25);
  for (const id of ids) wanted.delete(id);
  if (wanted.size > 0) timer = setTimeout(askAll, 10);
  if (ids.length === 0) return;
  for (const id of ids) asking.add(id);
  try {
    const names = ids.map((id) => `u${id}: user(id: "${id}") { id username displayName }`);
    const answer = await graphql(`query Names { ${names.join(' ')} }`);
    batch(() => {
      for (const id of ids) {
        if (answer[`u${id}`]) learn(answer[`u${id}`]);
        else slot(id).value = false;
      }
    });
  } catch (error) {
    if (!error.unanswered) for (const id of ids) slot(id).value ??= false;
  } finally {
    for (const id of ids) asking.delete(id);
  }
}

/** Asks again for who could not be asked for. */
export function askAgain() {
  for (const [id, user] of users) if (user.peek() === null) ask(id);
}
