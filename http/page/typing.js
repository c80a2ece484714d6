// Who is writing something at this moment, and where.

import { signal } from './lib/ui.js';
import { say } from './live.js';

const lasts = 6000; // ms after it was told last
const pause = 3000; // ms between two times that it is told

/** Channel -> the users who type there. */
export const typists = signal(new Map());

const timers = new Map();
const said = new Map();

function set(channel, user, there) {
  const now = new Map(typists.peek());
  const users = (now.get(channel) ?? []).filter((other) => other !== user);
  if (there) users.push(user);
  if (users.length > 0) now.set(channel, users);
  else now.delete(channel);
  typists.value = now;
}

/** Somebody types. */
export function typed(channel, user) {
  const key = `${channel} ${user}`;
  clearTimeout(timers.get(key));
  timers.set(key, setTimeout(() => stopped(channel, user), lasts));
  if (!typists.peek().get(channel)?.includes(user)) set(channel, user, true);
}

/** Somebody has written what he typed. */
export function stopped(channel, user) {
  const key = `${channel} ${user}`;
  if (!timers.has(key)) return;
  clearTimeout(timers.get(key));
  timers.delete(key);
  set(channel, user, false);
}

/** We type: the others are told now and then. */
export function typing(channel) {
  const now = Date.now();
  if (now - (said.get(channel) ?? 0) < pause) return;
  said.set(channel, now);
  say(channel);
}
