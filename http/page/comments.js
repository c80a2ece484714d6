// The comments of a message: the newest ones without holes, and how many there are.

import { compare, indexFor, moment } from './place.js';
import { learn } from './people.js';

const most = 60; // of a message whose comments nobody has opened
const left = 20;

// Comments that a mutation of ours has deleted, and whose event is still to come.
const gone = new Set();

/** A comment as the page has it, of GraphQL's or of an event's row. */
export function commentOf(from, messageId) {
  const row = from.created_at !== undefined;
  return {
    id: String(from.id),
    messageId,
    content: from.content,
    authorId: row ? String(from.author_id) : learn(from.author),
    createdAt: moment(row ? from.created_at : from.createdAt),
    updatedAt: moment(row ? from.updated_at : from.updatedAt),
  };
}

/** Whether there are older ones than the page has. */
export const hasEarlier = (message) => message.commentCount > message.comments.length;

/** The message with a comment that was added or changed. */
export function commented(message, comment, added) {
  const others = message.comments.filter((other) => other.id !== comment.id);
  const known = others.length < message.comments.length;
  if (!known && !added) return message;
  const count = message.commentCount + (known ? 0 : 1);
  const earlier = hasEarlier(message);
  const at = indexFor(others, comment);
  // Among those that are not loaded it is counted, and not shown: between it and the others there would be a hole.
  if (at === 0 && earlier && !known) return { ...message, commentCount: count };
  let comments = [...others.slice(0, at), comment, ...others.slice(at)];
  let { earlier: cursor } = message;
  if (comments.length > most && !message.opened) {
    comments = comments.slice(-left);
    cursor = null; // it would lead further back
  }
  return { ...message, comments, commentCount: count, earlier: cursor };
}

/** The message without a comment. */
export function uncommented(message, id) {
  if (gone.delete(id)) return message;
  const comments = message.comments.filter((other) => other.id !== id);
  const known = comments.length < message.comments.length;
  if (!known && !hasEarlier(message)) return message;
  return { ...message, comments, commentCount: Math.max(message.commentCount - 1, comments.length) };
}

/** The same, before its event. */
export function uncommentedAlready(message, id) {
  if (!message.comments.some((comment) => comment.id === id)) return message; // it was faster
  const changed = uncommented(message, id);
  gone.add(id);
  return changed;
}

/** The message with what was read of its older comments. */
export function withEarlier(message, { commentCount, comments: { nodes, pageInfo } }) {
  const comments = united(message.comments, nodes.map((node) => commentOf(node, message.id)));
  const count = pageInfo.hasPreviousPage ? Math.max(commentCount, comments.length + 1) : comments.length;
  return { ...message, comments, opened: true, earlier: pageInfo.startCursor, commentCount: count };
}

/** The message as it was read again, with older comments than were read, if they still can be there. */
export function reread(known, read) {
  const older = read.comments.length === 0 ? [] : known.comments.filter((comment) => compare(comment, read.comments[0]) < 0);
  if (older.length === 0 || older.length + read.comments.length > read.commentCount) return read;
  return { ...read, opened: known.opened, earlier: known.earlier, comments: [...older, ...read.comments] };
}

/** Comments that there were, and that were read: where one is both, as it was read. */
function united(known, read) {
  const byId = new Map([...known, ...read].map((comment) => [comment.id, comment]));
  return [...byId.values()].sort(compare);
}
