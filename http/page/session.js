// Who has signed in. The tokens are in cookies, out of reach of scripts: what the page knows is who it is and until when.

import { signal } from './lib/ui.js';
import { keep, kept } from './kept.js';
import { post, RequestError } from './request.js';

/** The user {id, username, displayName, role}, or null. */
export const me = signal(null);
/** Whether a session has ended that this window did not end. */
export const ended = signal(false);

const tabs = 'BroadcastChannel' in window ? new BroadcastChannel('tidings.session') : null;
let onChange = () => {};
let onLeave = () => {};
let renewing = null;
let knew = kept('session') !== null; // whether what is remembered was ever there
let renewed = 0; // when

/** Calls back when somebody else, or nobody, has signed in: all is to be loaded anew; and before one signs out, which waits for it. */
export function onSession(changed, leaving = () => {}) {
  onChange = changed;
  onLeave = leaving;
}

/** Whether this browser has signed in, as far as it remembers: {expiresAt}. */
const remembered = () => kept('session');
export const believed = () => me.peek() !== null || remembered() !== null;
export const justRenewed = () => Date.now() - renewed < 30_000;

async function auth(path, body) {
  const { status, answer } = await post(`/auth/${path}`, body);
  if (status < 300) return answer;
  const error = answer?.error ?? {};
  throw new RequestError((error.code ?? 'unavailable').toUpperCase(), error.message ?? `the answer is ${status}`, error);
}

function remember(answer) {
  renewed = Date.now();
  knew = true;
  keep('session', { expiresAt: answer.expiresAt });
}

export async function signIn(username, password) {
  began(await auth('sign-in', { username, password, cookie: true }));
}

export async function signUp(username, password, displayName) {
  const body = { username, password, cookie: true };
  if (displayName !== '') body.displayName = displayName;
  began(await auth('sign-up', body));
}

function began(answer) {
  remember(answer);
  ended.value = false;
  tabs?.postMessage('changed');
  onChange();
}

/** Nothing is followed meanwhile, and in no window is the session renewed that ends. */
export async function signOut(everywhere = false) {
  await onLeave();
  try {
    await locked(async () => {
      await auth('sign-out', everywhere ? { everywhere } : {});
      forget();
    });
    ended.value = false;
    tabs?.postMessage('out');
  } finally {
    onChange();
  }
}

function forget() {
  keep('session', null);
  me.value = null;
}

/** Whether the cookies run out, or have: then there is to be renewed before a connection is opened. */
export function runningOut() {
  const until = remembered()?.expiresAt;
  return until !== undefined && Date.parse(until) - Date.now() < 3000;
}

/**
 * Has the session go on: true. Or it has ended, and all is loaded anew: false. Throws where that cannot be known now. However many ask,
 * in however many windows, one request is made.
 */
export function renew() {
  renewing ??= locked(renewOnce).finally(() => { renewing = null; });
  return renewing;
}

const locked = (work) => {
  const before = remembered()?.expiresAt;
  return navigator.locks ? navigator.locks.request('tidings.session', () => work(before)) : work(before);
};

async function renewOnce(before) {
  const now = remembered()?.expiresAt;
  if (now !== undefined && now !== before) return true; // another window was faster
  if (now === undefined && knew) { // and has signed out
    over();
    return false;
  }
  try {
    remember(await auth('refresh', {}));
    return true;
  } catch (error) {
    if (error.unanswered) throw error;
  }
  await auth('sign-out', {}).catch(() => {}); // so that the browser forgets the cookies
  over();
  return false;
}

// A session has ended, and not by this window's will.
function over() {
  const had = believed();
  forget();
  if (!had) return;
  ended.value = true;
  tabs?.postMessage('out');
  onChange();
}

tabs?.addEventListener('message', ({ data }) => {
  knew = true;
  if (data === 'out') {
    if (me.peek() !== null) ended.value = true;
    me.value = null;
  } else {
    ended.value = false;
  }
  onChange();
});
