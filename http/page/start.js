// Load, then follow; and again, when events may be missing or somebody else has signed in.

import { effect, signal } from './lib/ui.js';
import { announceComment, announceMessage } from './announce.js';
import { deleted } from './composer.js';
import { channels, doubt, loadFirst } from './load.js';
import { connection, follow, liveFor, setConnection, stop } from './live.js';
import { applyComment, applyMessage, atNewest, unseen } from './messages.js';
import { applyNotification } from './notifications.js';
import { recognise, resume, sendAll } from './outbox.js';
import { applyPresence, askAgain, setOnline } from './people.js';
import { me, onSession } from './session.js';
import { stopped, typed } from './typing.js';

/** loading, ready; denied: the messages are not for this user; failed: with `failure`. */
export const phase = signal('loading');
export const failure = signal(null);
/** What an administrator has told all. */
export const announcement = signal(null);

let attempt = 0;
let closed = 0; // times in a row

export async function begin({ keep = false } = {}) {
  const mine = ++attempt;
  const current = () => mine === attempt;
  stop();
  setConnection(phase.peek() === 'ready' ? 'catching up' : 'connecting');
  let cursor;
  for (let pause = 500; ; pause = Math.min(pause * 2, 10_000)) {
    try {
      cursor = await loadFirst(keep, current);
      break;
    } catch (error) {
      if (!current()) return;
      if (!error.unanswered) {
        const denied = ['FORBIDDEN', 'UNAUTHENTICATED'].includes(error.code);
        failure.value = error;
        phase.value = denied ? 'denied' : 'failed';
        return;
      }
      setConnection('offline');
      await patience(pause * (0.5 + Math.random() / 2));
      if (!current()) return;
    }
  }
  if (!current()) return;
  phase.value = 'ready';
  resume();
  follow(channels(), cursor, {
    events: apply,
    typing: typed,
    reset: () => begin({ keep: true }),
    closed: () => {
      closed += 1;
      setConnection('offline');
      setTimeout(() => { if (current()) begin({ keep: true }); }, Math.min(250 * 2 ** closed, 30_000));
    },
    refused: (error) => {
      if (error.channel === 'presence') setOnline(null);
      if (error.channel === undefined || /^(messages|comments)$/.test(error.channel)) begin({ keep: true });
    },
  });
}

// A pause, which ends when the network is there again.
const patience = (ms) => new Promise((resolve) => {
  const done = () => {
    clearTimeout(timer);
    removeEventListener('online', done);
    resolve();
  };
  const timer = setTimeout(done, ms);
  addEventListener('online', done);
});

// Whether events have long passed the moment at which a message was read, so that each of them tells of something new.
const settled = 10_000; // ms
const certain = (message) => message.loadedAt === 0 || (liveFor() > settled && Date.now() - message.loadedAt > settled);

function apply(events) {
  for (const event of events) {
    const topic = event.channel.split(':', 1)[0];
    if (topic === 'messages') message(event);
    else if (topic === 'comments') comment(event);
    else if (topic === 'presence') applyPresence(event);
    else if (topic === 'notifications') applyNotification(event);
  }
}

function message(event) {
  if (event.type === 'announcement' && typeof event.data?.text === 'string') announcement.value = event.data.text;
  if (event.omitted) return doubt([event.channel.slice('messages:'.length)]);
  const added = event.type === 'message_added';
  if (event.type === 'message_deleted') deleted(`message.${event.data.id}`);
  if (added) recognise('createMessage', event.data);
  const where = applyMessage(event);
  if (!added) return undefined;
  const author = String(event.data.author_id);
  stopped('messages', author);
  if (where && author !== me.peek()?.id) {
    if (!atNewest.peek() && where !== 'added') unseen.value += 1;
    announceMessage(author, event.data.title);
  }
  return undefined;
}

function comment(event) {
  if (event.type === 'comment_added' && event.data) {
    recognise('createComment', event.data);
    stopped(`comments:${event.data.message_id}`, String(event.data.author_id));
    if (String(event.data.author_id) !== me.peek()?.id) announceComment(String(event.data.author_id), String(event.data.message_id));
  }
  if (event.type === 'comment_deleted' && event.data) deleted(`comment.${event.data.id}`);
  doubt(applyComment(event, certain));
}

onSession(() => begin(), () => { attempt += 1; stop(); });

effect(() => {
  if (connection.value !== 'live') return;
  closed = 0;
  sendAll();
  askAgain();
});
