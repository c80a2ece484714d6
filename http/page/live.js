// What happens, as it happens: one subscription, and what it tells is brought to the page in portions.

import { connect } from '/tidings.js';
import { batch, signal } from './lib/ui.js';
import { renew, runningOut, believed } from './session.js';

/** connecting, catching up, live, offline */
export const connection = signal('connecting');

const portion = 16; // ms: what comes within is drawn at once

let client = null;
let liveSince = 0;
let flush = () => {};

/**
 * Follows channels from a cursor. `events` gets what has happened, in its order; `typing` who writes where; `reset` says that all is to
 * be loaded anew, `closed` that one cannot come back; `refused` of which channel nothing is told.
 */
export function follow(channels, since, { events, typing, reset, refused, closed }) {
  stop();
  const mine = connect({ token });
  client = mine;
  let queue = [];
  let timer = null;
  flush = () => {
    clearTimeout(timer);
    timer = null;
    const now = queue;
    queue = [];
    if (now.length > 0) batch(() => events(now));
  };
  const ours = (handler) => (...args) => { if (client === mine) handler(...args); };
  mine.onState(ours((state) => {
    flush();
    if (state === 'live' && connection.peek() !== 'live') liveSince = Date.now();
    if (state === 'closed') closed(); // it makes no sense to come back as who one was
    else connection.value = state === 'idle' ? 'connecting' : state;
  }));
  mine.subscribe(channels, {
    event: ours((event) => {
      queue.push(event);
      timer ??= setTimeout(flush, portion);
    }),
    signal: ours((told) => { if (told.type === 'typing') typing(told.channel, String(told.data.user)); }),
    reset: ours(() => reset()),
    error: ours((error) => refused(error)),
  }, { since });
}

// The cookies say who it is. They are renewed before they run out, and when they were not taken.
async function token(why) {
  if (believed() && (why !== 'connect' || runningOut())) await renew().catch(() => {}); // without an answer there is no connection either
  return undefined;
}

export function stop() {
  const old = client;
  client = null;
  flush = () => {};
  old?.close();
}

/** Brings to the page what has come already, before an answer that may be older. */
export const catchUp = () => flush();

/** For how long events have been told as they happen, in ms. */
export const liveFor = () => (connection.peek() === 'live' ? Date.now() - liveSince : 0);

export const say = (channel) => { if (connection.peek() === 'live') client?.typing(channel); };

export const tryNow = () => client?.reconnect();

export const setConnection = (state) => { connection.value = state; };

addEventListener('online', tryNow);
