// The messages on the page: a part of all there are, without holes, from an older end to a newer one. At each end there may be more.
//
// Events come in the order in which things happened, each once, from the moment on that the first load has read. What is loaded later
// has been read at a later moment, which events may not have reached: applied again, by primary key, they come to the same. Events that
// come while something is being loaded are applied once more to what was loaded, since it may lack them.

import { batch, signal } from './lib/ui.js';
import { commentOf, commented, reread, uncommented } from './comments.js';
import { compare, indexFor, moment } from './place.js';
import { learn } from './people.js';

const most = 300; // messages on the page

/** The messages' ids, the oldest first. */
export const ids = signal([]);
/** Whether there is more beyond an end, and the cursor of GraphQL's from which to go on; '' where that is not known. */
export const older = signal({ more: false, cursor: '' });
export const newer = signal({ more: false, cursor: '' });
/** How many have come that were not looked at. */
export const unseen = signal(0);
/** Whether the newest is being looked at. */
export const atNewest = signal(true);

const rows = new Map(); // id -> signal of a message
const loads = new Set(); // of those under way, the events since they were begun
let epoch = 0; // counts how often all was replaced: what was loaded for another belongs nowhere

export const messageOf = (id) => rows.get(id)?.value;
export const peekMessage = (id) => rows.get(id)?.peek();

/** A message as the page has it, of GraphQL's. `loadedAt` 0: events are told from exactly that moment. */
export function ofGraph(node, loadedAt) {
  const comments = node.comments?.nodes ?? [];
  return {
    id: node.id,
    title: node.title,
    content: node.content,
    authorId: learn(node.author),
    createdAt: moment(node.createdAt),
    updatedAt: moment(node.updatedAt),
    comments: comments.map((comment) => commentOf(comment, node.id)),
    commentCount: node.commentCount ?? comments.length,
    earlier: node.comments?.pageInfo?.startCursor ?? null, // the cursor of the oldest comment
    loadedAt,
  };
}

function ofRow(row) {
  return {
    id: String(row.id),
    title: row.title,
    content: row.content,
    authorId: String(row.author_id),
    createdAt: moment(row.created_at),
    updatedAt: moment(row.updated_at),
  };
}

/** Begins to watch what happens while something is loaded. */
export function beginLoad() {
  const load = { epoch, events: [], commented: new Set(), end: () => loads.delete(load) };
  loads.add(load);
  return load;
}

/** Whether all was replaced since the load was begun. */
export const outdated = (load) => load.epoch !== epoch;

/** Replaces what there is; by what comes with a load, if one is given. */
export function replaceAll(nodes, ends, load) {
  epoch += 1;
  if (load) load.epoch = epoch;
  batch(() => {
    rows.clear();
    const list = nodes.map((node) => ofGraph(node, 0)).sort(compare);
    for (const message of list) rows.set(message.id, signal(message));
    ids.value = list.map((message) => message.id);
    older.value = ends.older;
    newer.value = ends.newer;
    unseen.value = 0;
  });
}

/**
 * Adds what was loaded beyond an end, `older` or `newer`. Returns the ids of which comments may have come or gone meanwhile, so that it is
 * not known whether they are counted.
 */
export function extend(nodes, load, which, end) {
  const doubtful = [];
  load.end();
  if (outdated(load)) return doubtful;
  batch(() => {
    const list = ids.peek().map(peekMessage);
    const before = new Set(ids.peek());
    for (const node of nodes) {
      const message = ofGraph(node, Date.now());
      if (before.has(message.id)) continue;
      list.splice(indexFor(list, message), 0, message);
      rows.set(message.id, signal(message));
    }
    ids.value = list.map((message) => message.id);
    (which === 'older' ? older : newer).value = end;
    for (const event of load.events) apply(event);
    for (const id of load.commented) if (rows.has(id) && !before.has(id)) doubtful.push(id);
    if (ids.peek().length > most) trim(which === 'older' ? 'newer' : 'older');
  });
  return doubtful;
}

/** Puts what was read of single messages in place of what there is of them; null: it is gone. Returns the ids that are doubtful as before. */
export function refresh(found, load) {
  const doubtful = [];
  load.end();
  if (outdated(load)) return doubtful;
  batch(() => {
    for (const [id, node] of found) {
      const known = rows.get(id);
      if (known === undefined) continue;
      if (node === null) {
        remove(id);
      } else if (load.commented.has(id)) {
        doubtful.push(id);
      } else {
        place(reread(known.peek(), ofGraph(node, Date.now())));
      }
    }
    for (const event of load.events) apply(event);
  });
  return doubtful;
}

/** Adds or changes a message as a mutation has answered. */
export function written(node, load) {
  load.end();
  batch(() => {
    const known = peekMessage(node.id);
    if (known) {
      const { title, content, updatedAt } = ofGraph(node, 0);
      place({ ...known, title, content, updatedAt });
    } else if (!load.events.some((event) => idOf(event) === node.id)) {
      insert({ ...ofGraph(node, 0), comments: [], commentCount: 0 });
    }
    for (const event of load.events) if (idOf(event) === node.id) apply(event);
  });
}

const idOf = (event) => (event.data ? String(event.data.id) : event.channel.slice('messages:'.length));

/** Applies an event of a message. Returns 'added' where it is new on the page, and 'beyond' where it is newer than what the page has. */
export function applyMessage(event) {
  for (const load of loads) load.events.push(event);
  return apply(event);
}

function apply(event) {
  if (event.type === 'messages_truncated') {
    rows.clear();
    ids.value = [];
    older.value = newer.value = { more: false, cursor: '' };
    unseen.value = 0;
    return undefined;
  }
  if (event.data === null || !['message_added', 'message_updated', 'message_deleted'].includes(event.type)) return undefined;
  if (event.type === 'message_deleted') {
    remove(String(event.data.id));
    return undefined;
  }
  const row = ofRow(event.data);
  if (event.moved_from?.startsWith('messages:')) remove(event.moved_from.slice('messages:'.length)); // it has another id now
  const known = peekMessage(row.id);
  if (known) {
    place({ ...known, ...row });
    return undefined;
  }
  return event.type === 'message_added' || event.moved_from ? insert({ ...row, comments: [], commentCount: 0, loadedAt: 0, arrived: Date.now() }) : undefined;
}

// Inserts a message, unless it belongs where nothing is loaded.
function insert(message) {
  const list = ids.peek();
  const first = peekMessage(list[0]);
  const last = peekMessage(list[list.length - 1]);
  if (last && compare(message, last) > 0) {
    if (newer.peek().more) return 'beyond';
    if (list.length >= most && !atNewest.peek()) {
      newer.value = { more: true, cursor: '' };
      return 'beyond';
    }
  }
  if (first && compare(message, first) < 0 && older.peek().more) return undefined;
  const at = indexFor(list.map(peekMessage), message);
  rows.set(message.id, signal(message));
  ids.value = [...list.slice(0, at), message.id, ...list.slice(at)];
  if (ids.peek().length > most && atNewest.peek()) trim('older');
  return at === list.length ? 'newest' : 'added';
}

// Puts a known message in place of itself, and elsewhere if when it was written has changed.
function place(message) {
  const known = rows.get(message.id);
  const moved = known.peek().createdAt !== message.createdAt;
  known.value = message;
  if (!moved) return;
  ids.value = ids.peek().filter((id) => id !== message.id);
  rows.delete(message.id);
  insert(message);
}

export function remove(id) {
  if (!rows.delete(id)) return;
  ids.value = ids.peek().filter((other) => other !== id);
}

// Forgets what is farthest from where one reads.
function trim(which) {
  const list = ids.peek();
  const kept = which === 'older' ? list.slice(-most) : list.slice(0, most);
  for (const id of which === 'older' ? list.slice(0, -most) : list.slice(most)) rows.delete(id);
  ids.value = kept;
  (which === 'older' ? older : newer).value = { more: true, cursor: '' };
}

/** Changes a message that is on the page. */
export function change(id, by) {
  const known = rows.get(id);
  if (known) known.value = by(known.peek());
}

/** Applies an event of a comment. Returns the ids of the messages whose comments cannot be told for certain. */
export function applyComment(event, certain) {
  if (event.type === 'comments_truncated') {
    for (const id of ids.peek()) change(id, (message) => ({ ...message, comments: [], commentCount: 0 }));
    return [];
  }
  const doubtful = [];
  const touch = (id, by) => {
    for (const load of loads) load.commented.add(id);
    const message = peekMessage(id);
    if (!message) return;
    const changed = by(message);
    if (changed === null || !certain(message)) doubtful.push(id);
    if (changed) change(id, () => changed);
  };
  if (!['comment_added', 'comment_updated', 'comment_deleted'].includes(event.type)) return doubtful;
  if (event.data === null) {
    touch(event.channel.slice('comments:'.length), () => null); // it is too large to be told
    return doubtful;
  }
  const id = String(event.data.id);
  const left = event.moved_from?.startsWith('comments:') ? event.moved_from.slice('comments:'.length) : null;
  if (left !== null) touch(left, (message) => uncommented(message, id));
  const row = commentOf(event.data, String(event.data.message_id));
  const kind = left !== null ? 'comment_added' : event.type;
  touch(row.messageId, (message) => (kind === 'comment_deleted' ? uncommented(message, id) : commented(message, row, kind === 'comment_added')));
  return doubtful;
}
