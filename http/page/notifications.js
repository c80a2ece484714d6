// What others do that concerns who has signed in.

import { batch, signal } from './lib/ui.js';
import { graphql } from './graphql.js';
import { moment } from './place.js';
import { learn } from './people.js';

/** The newest first; null: nobody has signed in. */
export const notifications = signal(null);
export const unread = signal(0);
export const moreNotifications = signal({ more: false, cursor: null });
/** The last that came while the page was open, to be told. */
export const arrived = signal(null);

const fields = `id kind createdAt readAt actor { id username displayName } message { id title } comment { id content }`;

const ofGraph = (node) => ({
  id: node.id,
  kind: node.kind,
  actorId: learn(node.actor),
  messageId: node.message?.id ?? null,
  title: node.message?.title ?? null,
  commentId: node.comment?.id ?? null,
  content: node.comment?.content ?? null,
  createdAt: moment(node.createdAt),
  readAt: node.readAt,
});

export function setNotifications(answer) {
  notifications.value = answer?.nodes.map(ofGraph) ?? null;
  unread.value = answer?.unreadCount ?? 0;
  moreNotifications.value = { more: answer?.pageInfo.hasNextPage ?? false, cursor: answer?.pageInfo.endCursor ?? null };
}

/** Applies an event. What it lacks, the message's title, is read. */
export function applyNotification({ type, data }) {
  if (notifications.peek() === null || data === null) return;
  const list = notifications.peek();
  const id = String(data.id);
  const known = list.find((other) => other.id === id);
  if (type === 'notification_deleted') {
    notifications.value = list.filter((other) => other.id !== id);
    if (data.read_at === null && known?.readAt !== undefined ? known.readAt === null : data.read_at === null) unread.value = Math.max(0, unread.peek() - 1);
    return;
  }
  if (type === 'notification_added' && !known) {
    const added = {
      id, kind: data.kind.toUpperCase(), actorId: String(data.actor_id), messageId: String(data.message_id), title: null,
      commentId: data.comment_id === null ? null : String(data.comment_id), content: null, createdAt: moment(data.created_at), readAt: data.read_at,
    };
    notifications.value = [added, ...list];
    if (data.read_at === null) unread.value += 1;
    readLater.add(id);
    timer ??= setTimeout(readMore, 30);
    return;
  }
  if (known) {
    if (known.readAt === null && data.read_at !== null) unread.value = Math.max(0, unread.peek() - 1);
    set(id, { readAt: data.read_at });
  } else if (type === 'notification_updated' && data.read_at !== null) {
    recount();
  }
}

const set = (id, values) => {
  notifications.value = notifications.peek().map((other) => (other.id === id ? { ...other, ...values } : other));
};

const readLater = new Set();
let timer = null;

async function readMore() {
  timer = null;
  const wanted = new Set(readLater);
  readLater.clear();
  try {
    const answer = await graphql(`query New($first: Int!) { notifications(first: $first) { unreadCount nodes { ${fields} } } }`,
      { first: Math.min(100, wanted.size + 5) });
    batch(() => {
      for (const node of answer.notifications.nodes) {
        if (!wanted.has(node.id)) continue;
        const { title, content, messageId } = ofGraph(node);
        if (notifications.peek()?.some((other) => other.id === node.id)) set(node.id, { title, content, messageId });
      }
      const newest = answer.notifications.nodes.find((node) => wanted.has(node.id));
      if (newest) arrived.value = ofGraph(newest);
    });
  } catch {
    // It is told without the title, which comes with the next load.
  }
}

// Of one that is not on the page it is not known whether it was unread.
let counting = null;
function recount() {
  clearTimeout(counting);
  counting = setTimeout(async () => {
    try {
      unread.value = (await graphql('query Unread { notifications(first: 1) { unreadCount } }')).notifications.unreadCount;
    } catch {
      // It comes with the next load.
    }
  }, 500);
}

export async function markRead(id) {
  const known = notifications.peek()?.find((other) => other.id === id);
  if (!known || known.readAt !== null) return;
  batch(() => {
    set(id, { readAt: new Date().toISOString() });
    unread.value = Math.max(0, unread.peek() - 1);
  });
  try {
    await graphql('mutation Read($id: ID!) { markNotificationRead(input: { id: $id }) { notification { readAt } } }', { id });
  } catch (error) {
    if (error.code === 'NOT_FOUND') return;
    batch(() => {
      if (!notifications.peek()) return;
      set(id, { readAt: null });
      unread.value += 1;
    });
  }
}

export async function markAllRead() {
  const upTo = notifications.peek()?.reduce((last, { id }) => (last === null || BigInt(id) > BigInt(last) ? id : last), null);
  if (upTo == null) return;
  await graphql('mutation ReadAll($upTo: ID) { markAllNotificationsRead(input: { upTo: $upTo }) { marked } }', { upTo });
  notifications.value = notifications.peek()?.map((other) => (other.readAt === null ? { ...other, readAt: new Date().toISOString() } : other)) ?? null;
  recount();
}

export async function loadMoreNotifications() {
  const answer = await graphql(`query Notifications($after: String) {
    notifications(first: 30, after: $after) { nodes { ${fields} } pageInfo { hasNextPage endCursor } } }`, { after: moreNotifications.peek().cursor });
  const known = new Set(notifications.peek()?.map(({ id }) => id));
  batch(() => {
    notifications.value = [...notifications.peek(), ...answer.notifications.nodes.filter((node) => !known.has(node.id)).map(ofGraph)];
    moreNotifications.value = { more: answer.notifications.pageInfo.hasNextPage, cursor: answer.notifications.pageInfo.endCursor };
  });
}
