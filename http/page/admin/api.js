// Requests to the service, as who has signed in: by the cookies of this browser, or by a token that was pasted and is kept in this page alone.

import { signal } from '../lib/ui.js';

/** A token of another issuer; null: cookies. */
export const token = signal(null);

/** `code` is one of the service's, or OFFLINE where nothing was answered. */
export class RequestError extends Error {
  constructor(code, message, field) {
    super(message);
    this.code = code;
    this.field = field;
  }

  /** Whether nobody has said no: it may be sent again. */
  get unanswered() {
    return ['OFFLINE', 'NOT_READY', 'UNAVAILABLE', 'TIMEOUT', 'INTERNAL'].includes(this.code);
  }
}

async function post(path, body, patience) {
  const headers = { 'Content-Type': 'application/json', Accept: 'application/json' };
  if (token.value !== null) headers.Authorization = `Bearer ${token.value}`;
  let response;
  let text;
  try {
    response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body), signal: AbortSignal.timeout(patience) });
    text = await response.text();
  } catch {
    throw new RequestError('OFFLINE', 'the service does not answer');
  }
  try {
    return { status: response.status, answer: text === '' ? {} : JSON.parse(text) };
  } catch {
    throw new RequestError('OFFLINE', `something else than the service has answered, with the status ${response.status}`);
  }
}

async function auth(path, body) {
  const { status, answer } = await post(`/auth/${path}`, body, 20_000);
  if (status >= 300) throw new RequestError((answer.error?.code ?? 'unavailable').toUpperCase(), answer.error?.message ?? `the answer is ${status}`, answer.error?.field);
  return answer;
}

// Whether this browser has signed in, as far as it remembers: {expiresAt}. The cookies themselves are out of reach. The channel's page keeps it,
// too, in the same place.
const session = 'tidings.session';

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(session));
  } catch {
    return null;
  }
}

function remember(value) {
  try {
    if (value === null) localStorage.removeItem(session);
    else localStorage.setItem(session, JSON.stringify({ expiresAt: value.expiresAt }));
  } catch {
    // nothing is kept: then one signs in again when the token has run out
  }
}

export async function signIn(username, password) {
  remember(await auth('sign-in', { username, password, cookie: true }));
}

export async function signOut() {
  if (token.value === null) {
    remember(null);
    await auth('sign-out', {});
  }
  token.value = null;
}

let renewing = null;

async function renewOnce(before) {
  const now = remembered();
  if (now === null) return false; // nobody has signed in
  if (now.expiresAt !== before) return true; // another window was faster
  try {
    remember(await auth('refresh', {}));
    return true;
  } catch (error) {
    if (error.unanswered) throw error;
    remember(null);
    return false;
  }
}

/** Has the session go on, once for all who ask at the same time, in all windows: whether it does. */
export function renew() {
  if (token.value !== null) return Promise.resolve(false);
  const before = remembered()?.expiresAt;
  const once = () => renewOnce(before);
  renewing ??= (navigator.locks ? navigator.locks.request('tidings.session', once) : once()).finally(() => { renewing = null; });
  return renewing;
}

async function send(query, variables, patience) {
  const { status, answer } = await post('/graphql', { query, variables }, patience);
  const errors = answer.errors ?? [];
  // What can be had is taken, where a part cannot: the rest is missing then.
  if (answer.data && Object.values(answer.data).some((value) => value !== null)) return { ...answer.data, errors };
  if (errors.length === 0) throw new RequestError('OFFLINE', `the answer is ${status}`);
  throw new RequestError(errors[0].extensions?.code ?? 'INTERNAL', errors[0].message, errors[0].extensions?.field);
}

/** What the operation answers. Where a session has run out, it is renewed, and the operation is sent again. */
export async function graphql(query, variables = {}, patience = 15_000) {
  try {
    return await send(query, variables, patience);
  } catch (error) {
    if (error.code !== 'UNAUTHENTICATED' || !(await renew())) throw error;
    return send(query, variables, patience);
  }
}
