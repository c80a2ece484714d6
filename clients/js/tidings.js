// The client of a tidings service, for browsers and Node. What it offers is described in tidings.d.ts, how to use it in README.md.
//
// A subscription is some channels and one cursor. Subscriptions share connections (links), as far as that loses and doubles nothing.
// A link has a cursor that holds for all of its subscriptions that are settled, which is when all their channels are live. One that is
// not settled yet is in one of three ways to there: behind a cursor of its own, with rows first, or from now on.

/** @import * as api from './tidings.d.ts' */

export class TidingsError extends Error {
  name = 'TidingsError';

  /** @param {string} code @param {string} message @param {boolean} [retryable] @param {string} [channel] */
  constructor(code, message, retryable = false, channel = undefined) {
    super(message);
    this.code = code;
    this.retryable = retryable;
    if (channel) this.channel = channel;
  }
}

/** @param {api.Options} [options] @returns {api.Client} */
export function connect(options) {
  return new Client(options ?? {});
}

const maxChannels = 100; // of a link; the service may have less
const rejectedTwice = 60_000; // two tokens in so many ms that were not taken are enough
const pageRows = 1000;

const topicOf = (channel) => channel.split(':', 1)[0];

/** Whether a channel has an event, or a signal. */
function has(channel, { type, channel: own, moved_from: left }) {
  return channel === own || channel === left || channel === topicOf(own) || (topicOf(channel) === own && type === own + '_truncated');
}

/**
 * Whether a subscription would miss something where there are these channels: their rows come once, and an event of the past does not
 * come for a channel of a topic, if it matches another one of it.
 */
function overlap({ channels, since, rows }, others) {
  if (!since) return rows && channels.some((name) => others.has(name));
  const topics = new Set([...others].map(topicOf));
  return channels.some((name) => topics.has(topicOf(name)));
}

/** Calls what is not ours: what it throws is not our concern either. */
function call(callback, ...args) {
  try {
    callback(...args);
  } catch (error) {
    if (globalThis.reportError) reportError(error);
    else queueMicrotask(() => { throw error; });
  }
}

function check(channels) {
  if (!channels.length) throw new TidingsError('bad_channel', 'there is no channel to subscribe to');
  for (const name of channels) {
    if (typeof name !== 'string' || !/^[^:\p{Cc}\p{Cs}]+(:[^\p{Cc}\p{Cs}]+)?$/u.test(name) || new TextEncoder().encode(name).length > 512) {
      throw new TidingsError('bad_channel', `${JSON.stringify(name)} is no name of a channel`);
    }
  }
  return channels;
}

/** @implements {api.Client} */
class Client {
  /** @type {api.State} */ state = 'idle';
  subs = new Set();
  links = new Set();
  listeners = new Set();
  collections = new Map();
  connected = false; // since there are subscriptions
  closed = false;
  maxChannels = maxChannels;
  typed = { channel: '', at: 0 };
  /** @type {string | null | undefined} */ given = undefined; // the token that was given last
  /** @type {Promise<any> | undefined} */ asking = undefined; // for a token
  /** @type {Promise<any> | undefined} */ another = undefined; // in place of one that was not taken

  /** @param {api.Options & { WebSocket?: any }} options */
  constructor({ url, token, WebSocket = globalThis.WebSocket, fetch = globalThis.fetch, backoff, heartbeat }) {
    const page = globalThis.location?.href;
    if (!url && !page) throw new TypeError('connect needs a url: there is no page whose service could be meant');
    const base = new URL(url ?? '/', page);
    base.protocol = base.protocol.replace('ws', 'http');
    base.search = base.hash = '';
    if (!base.pathname.endsWith('/')) base.pathname += '/';
    this.base = base;
    this.asks = typeof token === 'function';
    this.source = typeof token === 'function' ? token : () => token;
    this.WebSocket = WebSocket;
    this.fetch = fetch;
    this.backoff = { min: 200, max: 10_000, ...backoff };
    this.heartbeat = { after: 25_000, timeout: 10_000, ...heartbeat };
    for (const event of ['online', 'offline', 'pageshow']) globalThis.addEventListener?.(event, this.wake);
    globalThis.document?.addEventListener('visibilitychange', this.wake);
  }

  onState = (listener) => {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  };

  subscribe(channels, handlers, options = {}) {
    if (!this.WebSocket) throw new TypeError('there is no WebSocket here: give connect the one of the package ws');
    const sub = new Subscription(this, check([...new Set([channels].flat())]), handlers, options);
    if (this.closed) {
      queueMicrotask(() => sub.end(new TidingsError('closed', 'the client is closed')));
      return sub;
    }
    this.subs.add(sub);
    this.place(sub);
    return sub;
  }

  /** @param {string} channel @param {api.LoadOptions} [options] */
  async load(channel, { limit, order, after, signal } = {}) {
    check([channel]);
    const url = new URL('channels/' + encodeURIComponent(channel), this.base);
    for (const [name, value] of Object.entries({ limit, order, after })) if (value != null) url.searchParams.set(name, String(value));
    for (let why = 'connect'; ; why = 'rejected') {
      const token = (why === 'connect' && this.given) || (await this.token(why));
      let response, body;
      try {
        const fetch = this.fetch; // which wants no other this
        response = await fetch(url, { signal, headers: token ? { Authorization: 'Bearer ' + token } : {} });
        body = await response.json();
      } catch (error) {
        if (signal?.aborted) throw error;
        if (!response || response.ok) throw new TidingsError('unreachable', `${url.host} cannot be reached: ${error.message}`, true, channel);
      }
      if (response.ok) return body;
      if (response.status === 401 && this.asks && why === 'connect') continue;
      const { code = 'http_' + response.status, message = response.statusText } = body?.error ?? {};
      throw new TidingsError(code, message, response.status === 429 || response.status >= 500, channel);
    }
  }

  collect(channel, { key = topicOf(channel) === 'presence' ? 'user' : 'id' } = {}) {
    const name = typeof key === 'string' ? key + '\n' + channel : {};
    let rows = this.collections.get(name);
    if (!rows || rows.error) this.collections.set(name, (rows = new Rows(this, channel, key)));
    return collection(rows, () => {
      if (this.collections.get(name) === rows) this.collections.delete(name);
    });
  }

  typing(channel) {
    const at = Date.now();
    if (channel === this.typed.channel && Math.abs(at - this.typed.at) < 1000) return;
    const links = [...this.links].filter((link) => link.ready);
    const link = links.find((link) => link.asked.has(channel)) ?? links[0];
    if (!link) return;
    this.typed = { channel, at };
    link.send({ type: 'typing', channel });
  }

  reconnect() {
    for (const link of this.links) link.hurry();
  }

  close = () => this.end();

  // What follows is not for who uses the client.

  /** The machine may have slept, or be in another network. */
  wake = (event) => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    for (const link of this.links) event?.type === 'offline' || link.hurry(), link.probe();
  };

  /** Ends all; with an error, because there is no use in going on. */
  end(error = undefined) {
    if (this.closed) return;
    this.closed = true;
    for (const event of ['online', 'offline', 'pageshow']) globalThis.removeEventListener?.(event, this.wake);
    globalThis.document?.removeEventListener('visibilitychange', this.wake);
    this.update(error);
    for (const sub of this.subs) sub.end(error);
    for (const link of this.links) link.close();
  }

  /** Gives a subscription to a link that can take it, or to a new one. */
  place(sub) {
    if (sub.closed) return;
    let link = [...this.links].find((link) => link.takes(sub));
    if (!link) this.links.add((link = new Link(this)));
    sub.link = link;
    link.subs.add(sub);
    link.schedule();
    this.update();
  }

  update(error = undefined) {
    const links = [...this.links];
    const subs = [...this.subs];
    for (const link of links) link.quiet &&= [...link.subs].some((sub) => !sub.live);
    if (!subs.length) this.connected = false;
    /** @type {api.State} */
    let state = 'catching up';
    if (this.closed) state = 'closed';
    else if (!subs.length) state = 'idle';
    else if (links.some((link) => link.quiet)) return;
    else if (links.some((link) => link.lost)) state = 'offline';
    else if (!this.connected) state = 'connecting';
    else if (subs.every((sub) => sub.live)) state = 'live';
    if (state === this.state) return;
    this.state = state;
    for (const listener of [...this.listeners]) call(listener, state, error);
  }

  /** Asks for a token; all who ask at the same time get the same, but for who needs another than the one that there is. */
  async token(why) {
    const place = why === 'rejected' || this.another ? 'another' : 'asking';
    this[place] ??= Promise.resolve(why).then(this.source).finally(() => { this[place] = undefined; });
    try {
      return (this.given = await this[place]);
    } catch (problem) {
      throw new TidingsError('no_token', `there is no token now: ${problem?.message}`, true);
    }
  }

  /** The pause before something that has failed so many times is tried again. */
  pause(failures) {
    const { min, max } = this.backoff;
    return Math.min(min * 2 ** Math.min(failures, 30), max) * (1 - Math.random() / 2);
  }
}

/** A connection, and what comes in its place when it is lost. */
class Link {
  subs = new Set();
  cursor = undefined; // all before it was told to those that are settled
  failures = 0;
  liveAt = undefined; // since when something is live
  waited = 0; // before that
  rejectedAt = 0;
  renewedAt = 0; // by what is no token
  lost = false; // and not back yet
  quiet = false; // left on purpose, to come back at once
  scheduled = false;
  /** @type {any} */ socket = undefined;
  token = undefined; // that the service was given last
  /** @type {string | null | undefined} */ user = null; // whose that was; undefined: who has none; null: nobody has been one yet
  dialled = false;
  attempt = {}; // to connect; what belongs to another one is over
  timer = undefined; // until the next one
  pulse = undefined; // until the silence is looked at

  constructor(client) {
    this.client = client;
    this.clear();
  }

  /** Forgets what was said on a connection. */
  clear() {
    this.ready = false; // to be told what to subscribe to
    this.liveAt = undefined;
    this.asked = new Set(); // channels, of the service
    this.live = new Set(); // of those
    this.left = []; // channels, which is to be said
    this.leaving = new Map(); // channels that were left, and how many answers to that are to come
    this.begun = new Set(); // subscriptions that are not settled: what was asked for is theirs
    this.rows = []; // of the channel that the next `loaded` names
  }

  channels() {
    return new Set([...this.subs].flatMap((sub) => sub.channels));
  }

  /** Whether a subscription may come to those that are here. */
  takes(sub) {
    const here = this.channels();
    return new Set([...here, ...sub.channels]).size <= this.client.maxChannels && !this.overlaps(sub, here);
  }

  /** Whether a subscription would miss something, or hear as its past what still comes of a channel that was left. */
  overlaps(sub, others) {
    return overlap(sub, sub.since ? new Set([...others, ...this.leaving.keys()]) : others);
  }

  /** Lets a subscription go. */
  remove(sub) {
    this.subs.delete(sub);
    this.begun.delete(sub);
    const here = this.channels();
    for (const name of sub.channels) {
      if (here.has(name) || !this.asked.delete(name)) continue;
      this.live.delete(name);
      this.left.push(name);
      this.leaving.set(name, (this.leaving.get(name) ?? 0) + 1);
    }
    this.schedule();
  }

  /** Does what there is to do when all that happens now has happened: what comes and goes at once is not told to the service. */
  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    queueMicrotask(() => {
      this.scheduled = false;
      this.sync();
    });
  }

  sync() {
    if (!this.client.links.has(this)) return;
    if (!this.subs.size) return this.close();
    if (!this.dialled) return this.dial();
    if (!this.ready) return;
    for (const channel of this.left.splice(0)) this.send({ type: 'unsubscribe', channel });
    const subs = [...this.subs];
    this.ask(subs.filter((sub) => sub.settled), this.cursor);
    for (const sub of subs) if (sub.since) this.begin([sub], sub.since);
    this.begin(subs.filter((sub) => !sub.settled && !sub.since && sub.rows));
    this.ask(subs.filter((sub) => !sub.settled && !sub.since && !sub.rows));
    for (const sub of subs) this.settle(sub);
  }

  /** Asks for what must not have been asked for by others; where it was, while these were settled already, it goes to another link. */
  begin(subs, since = undefined) {
    subs = subs.filter((sub) => !this.begun.has(sub));
    const apart = subs.filter((sub) => this.overlaps(sub, this.asked));
    for (const sub of subs) this.begun.add(sub);
    this.ask(subs.filter((sub) => !apart.includes(sub)), since);
    for (const sub of apart) {
      sub.leave(sub.since);
      this.client.place(sub);
    }
  }

  /** Subscribes to what has not been asked for, in one request: one cursor stands for all of it. */
  ask(subs, since = undefined) {
    const channels = [...new Set(subs.flatMap((sub) => sub.channels))].filter((name) => !this.asked.has(name));
    if (!channels.length) return;
    for (const name of channels) this.asked.add(name);
    this.send({ type: 'subscribe', channels, since, snapshot: subs.some((sub) => sub.rows) || undefined });
  }

  /** A subscription whose channels are all live goes on with the others. */
  settle(sub) {
    if (sub.settled || sub.link !== this || !sub.channels.every((name) => this.live.has(name))) return;
    sub.settled = true;
    sub.since = undefined;
    sub.loaded.clear();
    sub.ahead = false;
    sub.failures = 0;
    sub.arrived();
    for (const name of [...sub.channels]) sub.tell('live', { type: 'live', channel: name, cursor: this.cursor }, name);
    this.client.update();
  }

  send(command) {
    if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(command)); // of one that is closing, a page complains
  }

  /** Connects. The error is why a token was not taken, if one was not. */
  async dial(error = undefined) {
    const attempt = (this.attempt = {});
    const { client } = this;
    const before = this.token;
    let token;
    this.dialled = true;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.pulse = setTimeout(() => { // waits on, but says so
      this.lost = true;
      this.quiet = false;
      client.update(new TidingsError('no_token', 'the token has not come yet', true));
    }, client.heartbeat.timeout);
    this.pulse.unref?.();
    try {
      token = await client.token(error ? 'rejected' : 'connect');
    } catch (problem) {
      if (attempt === this.attempt) this.lose(problem);
      return;
    }
    if (attempt !== this.attempt) return;
    if (error && token && token === before) return client.end(error);
    this.token = token;
    const url = new URL('ws', client.base);
    url.protocol = url.protocol.replace('http', 'ws');
    let socket;
    try {
      socket = this.socket = new client.WebSocket(url.href);
    } catch (problem) { // an insecure connection from a secure page, say
      return client.end(new TidingsError('unreachable', `${url.href} cannot be connected to: ${problem.message}`));
    }
    let opened = false;
    let problem = '';
    this.askedAt = Date.now(); // to be there
    this.watch();
    socket.onopen = () => {
      opened = true;
      this.heard();
      if (token) this.send({ type: 'authenticate', token });
      else this.open(undefined);
    };
    socket.onmessage = ({ data }) => {
      this.heard();
      let frame;
      try {
        frame = JSON.parse(data);
      } catch {
        return this.lose(new TidingsError('not_tidings', `${url.host} says what is not the protocol's: is it tidings?`, true));
      }
      this.hear(frame);
    };
    socket.onerror = (event) => { problem = event.message ?? ''; };
    socket.onclose = ({ code, reason }) => {
      const [word] = /^[a-z_]*/.exec(reason ?? '') ?? [];
      const message = reason || problem || (opened ? 'the connection was lost' : `${url.host} cannot be reached`);
      this.closed(code, new TidingsError(word || (opened ? 'lost' : 'unreachable'), message, true));
    };
  }

  /** The service hears us. */
  open(user) {
    this.identified(user);
    this.ready = true;
    this.lost = false;
    this.client.connected = true;
    this.sync();
    this.client.update();
  }

  /** Rows are those that a user may read: for another one they come again. */
  identified(user) {
    const another = this.user !== null && user !== this.user;
    this.user = user;
    if (another) for (const sub of [...this.subs]) if (sub.rows) sub.restart();
  }

  /** Ends the connection, if there is one, and nothing of it is heard any more. */
  drop(gently = false) {
    const { socket } = this;
    this.attempt = {};
    this.socket = undefined;
    clearTimeout(this.pulse);
    clearTimeout(this.timer);
    this.timer = undefined;
    this.clear();
    if (!socket) return;
    socket.onmessage = socket.onclose = null;
    socket.onopen = () => socket.close();
    socket.onerror = () => {}; // in Node, an error that nobody hears is thrown
    if (socket.terminate && (!gently || socket.readyState === 0)) socket.terminate();
    else if (!gently || socket.readyState === 1 || !globalThis.document) socket.close(); // before it is open, a page complains of it
  }

  close() {
    this.drop(true);
    this.client.links.delete(this);
    this.client.update();
  }

  closed(code, error) {
    if (code === 4004 || code === 4006) return this.reject(error);
    if (code === 1002 || code === 1007 || code === 4002) return this.client.end(new TidingsError(error.code, error.message));
    const moves = code === 1001 && error.code === 'shutdown';
    if (!(moves || code === 4003) || !this.held()) return this.lose(error);
    this.failures = 0;
    this.waited = moves ? this.client.backoff.min * Math.random() : 0; // others were asked to move, too
    this.quiet = true;
    this.drop();
    this.again(this.waited);
  }

  /** The connection is of no use any more: another one is tried after a pause. */
  lose(error) {
    const pause = this.pause();
    this.lost = true;
    this.quiet = false;
    this.drop();
    this.again(pause, error);
  }

  /** Whether the connection was of use for longer than was waited for it: who ends each at once is not come back to at once. */
  held() {
    return this.liveAt !== undefined && Math.abs(Date.now() - this.liveAt) > Math.max(this.waited, this.client.backoff.min);
  }

  /** The pause before the next connection. */
  pause() {
    if (this.held()) this.failures = 0;
    return (this.waited = this.client.pause(this.failures++));
  }

  again(pause, error = undefined) {
    this.timer = setTimeout(() => this.dial(), pause);
    this.client.update(error);
  }

  /** A token was not taken: another one is asked for, once. */
  reject(error) {
    this.drop();
    const refused = new TidingsError(error.code, error.message);
    if (!this.client.asks || this.rejectedLately()) return this.client.end(refused);
    this.dial(refused);
    this.client.update();
  }

  /** Whether another one was not taken lately. */
  rejectedLately() {
    const before = this.rejectedAt;
    this.rejectedAt = Date.now();
    return Math.abs(this.rejectedAt - before) < rejectedTwice;
  }

  /** Another token is taken in place; where there is none, a cookie may have been renewed, which needs a new connection. */
  async renew(why) {
    const { socket } = this;
    if (why === 'rejected' && this.rejectedLately()) return;
    let token;
    try {
      token = await this.client.token(why);
    } catch {
      return; // it is asked again when this one has run out
    }
    if (socket !== this.socket || token === this.token && token) return;
    if (token) return this.send({ type: 'authenticate', token: (this.token = token) });
    if (why === 'rejected' || Math.abs(Date.now() - this.renewedAt) < rejectedTwice) return; // it may not have been renewed
    this.renewedAt = Date.now();
    this.quiet = true;
    this.drop();
    this.dial();
  }

  hurry() {
    if (this.timer === undefined) return;
    this.failures = 0;
    this.dial();
  }

  heard() {
    this.heardAt = Date.now();
    this.askedAt = undefined;
  }

  /** Asks whether the service is there, when it has said nothing for a while, and leaves it if it does not answer. */
  watch() {
    clearTimeout(this.pulse);
    if (!this.socket) return;
    const { after, timeout } = this.client.heartbeat;
    const now = Date.now();
    if (now < (this.askedAt ?? this.heardAt)) this.heardAt = now, this.askedAt &&= now; // the clock was set back
    if (this.askedAt === undefined && now - this.heardAt >= after) this.ping();
    if (now - this.askedAt >= timeout) return this.lose(new TidingsError('silent', 'the service does not answer', true));
    this.pulse = setTimeout(() => this.watch(), (this.askedAt === undefined ? this.heardAt + after : this.askedAt + timeout) - now);
    this.pulse.unref?.(); // what is subscribed to keeps a process, not this
  }

  ping() {
    this.askedAt = Date.now();
    this.send({ type: 'ping' });
  }

  probe() {
    if (this.socket?.readyState !== 1 || this.askedAt !== undefined) return;
    this.ping();
    this.watch();
  }

  hear(frame) {
    const { type, channel, cursor } = frame;
    if (type === 'unsubscribed' || frame.code === 'not_subscribed') {
      const more = (this.leaving.get(channel) ?? 1) - 1;
      if (more) this.leaving.set(channel, more);
      else this.leaving.delete(channel);
      return;
    }
    if (type === 'error') return this.refused(frame);
    if (type === 'row') {
      if (frame.data !== null) this.rows.push(frame.data);
    } else if (type === 'loaded') this.loaded(channel, cursor, this.rows.splice(0));
    else if (type === 'cursor') this.cursor = cursor;
    else if (type === 'authenticated') this.ready ? this.identified(frame.user) : this.open(frame.user);
    else if (type === 'token_expiring') this.client.asks && this.renew('expiring');
    else if (type === 'pong') return;
    else if (type === 'subscribed') this.subscribed(channel, cursor);
    else if (type === 'reset') this.reset(channel, frame.reason);
    else if (frame.id) this.event(frame);
    else for (const sub of this.subs) if (sub.settled && sub.channels.some((name) => has(name, frame))) sub.tell('signal', frame, frame);
  }

  /** The subscriptions that a notice concerns: none, if it is of one that was left. */
  of(channel) {
    return this.leaving.has(channel) ? [] : [...this.subs].filter((sub) => sub.channels.includes(channel));
  }

  subscribed(channel, cursor) {
    this.cursor = cursor;
    if (this.leaving.has(channel)) return;
    this.liveAt ??= Date.now();
    this.live.add(channel);
    for (const sub of this.of(channel)) {
      if (sub.settled) sub.tell('live', { type: 'live', channel, cursor }, channel);
      else this.settle(sub);
    }
    this.client.update();
  }

  loaded(channel, cursor, rows) {
    for (const sub of this.of(channel)) {
      if (sub.settled || sub.since) continue;
      if (!sub.rows) continue;
      sub.loaded.add(channel);
      sub.ahead = true;
      sub.tell('rows', { type: 'rows', channel, rows, cursor }, rows, channel);
    }
  }

  reset(channel, reason) {
    if (!this.leaving.has(channel)) this.live.delete(channel);
    for (const sub of this.of(channel)) {
      if (sub.link !== this) continue; // any more
      sub.settled = sub.ahead = false;
      sub.since = undefined;
      sub.loaded.delete(channel);
      this.begun.add(sub); // by the service
      sub.tell('reset', { type: 'reset', channel, reason }, channel, reason);
    }
    this.client.update();
  }

  event(event) {
    const subs = [...this.subs].filter((sub) => sub.channels.some((name) => has(name, event)));
    const before = this.cursor;
    if (subs.some((sub) => sub.settled)) this.cursor = event.cursor;
    for (const sub of subs) {
      if (sub.link !== this) continue; // any more
      if (sub.settled) sub.take(event, before);
      else if (sub.since) {
        const since = sub.since;
        sub.since = event.cursor;
        sub.take(event, since);
      } else if ([...sub.loaded].some((name) => has(name, event))) sub.take(event, undefined);
    }
  }

  refused({ code, message, channel, retry_after_ms: wait }) {
    const error = new TidingsError(code, message, code === 'unavailable', channel);
    if (code === 'rate_limited') {
      // Which command was not done is not said; coming back does them all. If none is open, it was about typing.
      const open = !this.ready || this.leaving.size || [...this.asked].some((name) => !this.live.has(name));
      if (!open) return;
      const pause = Math.max(wait, this.pause());
      this.drop();
      this.again(pause, error);
      return;
    }
    if (!channel) {
      if (code === 'unauthenticated') return this.ready ? this.renew('rejected') : this.reject(error);
      if (!this.ready) return this.lose(error); // too many connections of the user, say
      if (code === 'forbidden' || code === 'unavailable') return; // typing
      for (const sub of this.subs) if (!sub.settled) sub.end(error);
      return;
    }
    if (this.leaving.has(channel)) return;
    const subs = this.of(channel);
    this.asked.delete(channel);
    this.live.delete(channel);
    if (code === 'unavailable' && subs.some((sub) => sub.settled)) return this.lose(error);
    for (const sub of subs) {
      if (code === 'unavailable') {
        sub.leave(sub.since);
        sub.later(() => this.client.place(sub));
      } else if (code === 'snapshot_too_large') {
        if (sub.rows) sub.loadAll();
      } else if (code === 'too_many_channels' && this.subs.size > 1) {
        this.client.maxChannels = Math.min(this.client.maxChannels, Math.max(1, this.asked.size));
        sub.leave(sub.settled ? this.cursor : sub.since);
        this.client.place(sub);
      } else {
        sub.lose(channel, error);
      }
    }
    this.schedule();
  }
}

/** @implements {api.Subscription} */
class Subscription {
  link = undefined; // none, while it waits for something else
  settled = false; // its place is the link's
  loaded = new Set(); // not settled, with rows: the channels whose rows have come
  failures = 0;
  ahead = false; // not settled: the rows may have some of what follows already
  closed = false;
  resting = false; // too much waits for who iterates
  queue = []; // that: each with the cursor before
  waiting = []; // who iterates, for more
  /** @type {(() => void) | undefined} */ unlisten = undefined;
  ended = new AbortController();
  timer = undefined;

  constructor(client, channels, handlers, { since = undefined, rows = false, signal = undefined, buffer = 10_000 }) {
    this.client = client;
    this.channels = channels;
    this.handlers = handlers;
    this.since = since; // not settled: all before it was told
    this.rows = rows;
    this.buffer = buffer;
    this.ready = new Promise((resolve, reject) => {
      this.arrived = resolve;
      this.failed = reject;
    });
    this.ready.catch(() => {}); // nobody has to look at it
    if (!signal) return;
    const abort = () => this.close();
    if (signal.aborted) queueMicrotask(abort);
    signal.addEventListener('abort', abort);
    this.unlisten = () => signal.removeEventListener('abort', abort);
  }

  get place() {
    return this.settled ? this.link.cursor : this.since;
  }

  get cursor() {
    return this.queue.length ? this.queue[0].before : this.place;
  }

  get live() {
    return this.settled && this.channels.every((name) => this.link.live.has(name));
  }

  close = () => this.end();

  [Symbol.asyncIterator]() {
    if (this.handlers) throw new TypeError('a subscription that calls back is not iterated');
    let over = false;
    return { // not a generator: that could not be left while something is waited for
      next: async () => {
        while (!over && !this.queue.length && !this.closed) await new Promise((resolve) => this.waiting.push(resolve));
        if (!over && this.queue.length) {
          const { message } = this.queue.shift();
          if (this.resting && !this.queue.length) {
            this.resting = false;
            this.client.place(this);
          }
          return { done: false, value: message };
        }
        const error = over ? undefined : this.error;
        over = true;
        if (error) throw error;
        return { done: true, value: undefined };
      },
      return: async (value) => {
        over = true;
        this.close();
        return { done: true, value };
      },
      [Symbol.asyncIterator]() { return this; },
    };
  }

  // What follows is not for who uses the client.

  /** Tells something: calls back with the arguments, or leaves the message to who iterates. */
  tell(name, message, ...args) {
    if (this.closed) return;
    if (this.handlers) {
      if (this.handlers[name]) call(() => this.handlers[name](...args));
    } else if (name !== 'signal' || this.queue.length < this.buffer) this.push(message, this.place);
  }

  take(event, before) {
    if (this.handlers || this.queue.length < this.buffer) {
      if (this.handlers) this.tell('event', event, event);
      else this.push(event, before);
    } else {
      this.resting = true;
      this.leave(before);
    }
  }

  push(message, before) {
    this.queue.push({ message, before });
    this.wake();
  }

  wake() {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /** Leaves its link, to begin behind the cursor when it comes to another one; without one, anew. */
  leave(since = undefined) {
    const { link } = this;
    this.link = undefined;
    this.settled = false;
    this.ahead &&= !!since;
    this.since = since;
    this.loaded.clear();
    link?.remove(this);
    this.client.update();
  }

  /** Tries again after a pause. */
  later(what) {
    this.timer = setTimeout(what, this.client.pause(this.failures++));
  }

  restart() {
    this.leave();
    this.client.place(this);
  }

  /** Loads the rows page by page, and goes on behind the cursor of the first one. */
  async loadAll() {
    this.leave();
    /** @type {number | undefined} */ let limit = pageRows;
    while (!this.closed) {
      try {
        const all = new Map();
        let since;
        for (const channel of [...this.channels]) {
          const rows = [];
          for (let after; after !== null; ) {
            const page = await this.client.load(channel, { limit, after, signal: this.ended.signal });
            since ??= page.cursor;
            for (const row of page.rows) if (row !== null) rows.push(row);
            after = page.next;
          }
          all.set(channel, rows);
        }
        this.since = since;
        this.ahead = true;
        for (const [channel, rows] of all) this.tell('rows', { type: 'rows', channel, rows, cursor: since }, rows, channel);
        return this.client.place(this);
      } catch (error) {
        if (this.closed) return;
        if (error.code === 'bad_request' && limit) limit = undefined; // pages are not that large here
        else if (error.retryable) await new Promise((resolve) => this.later(resolve));
        else if (error.channel) this.lose(error.channel, error);
        else this.end(error);
      }
    }
  }

  /** A channel cannot be had. */
  lose(channel, error) {
    this.channels = this.channels.filter((name) => name !== channel);
    this.loaded.delete(channel);
    if (!this.channels.length) return this.end(error);
    this.tell('error', { type: 'error', channel, error }, error);
    this.link?.schedule();
  }

  end(error = undefined) {
    if (this.closed) return;
    if (error && this.handlers) this.tell('error', undefined, error);
    this.closed = true;
    this.error = error;
    this.unlisten?.();
    this.ended.abort();
    clearTimeout(this.timer);
    if (!error) this.queue = [];
    this.failed(error ?? new TidingsError('closed', 'the subscription was closed'));
    this.client.subs.delete(this);
    this.leave(this.place);
    this.wake();
  }
}

/** The rows of a channel, for all who collect it. */
class Rows {
  map = new Map();
  doubts = new Set(); // keys of which it is not known yet why the rows did not have them
  array = undefined; // of the map's values, until they change
  users = 0;
  listeners = new Set();
  due = false; // the listeners are about to be told
  toldAt = 0;
  error = undefined;

  constructor(client, channel, key) {
    this.channel = channel;
    this.key = typeof key === 'function' ? key : (row) => row[key];
    const changed = () => this.changed();
    this.sub = client.subscribe(
      channel,
      {
        rows: (rows) => this.replace(rows),
        event: (event) => this.apply(event),
        live: () => {
          if (this.doubts.size) this.sub.restart();
          this.changed();
        },
        reset: changed,
        error: (error) => {
          this.error = error;
          this.changed();
        },
      },
      { rows: true },
    );
  }

  replace(rows) {
    this.map.clear();
    this.doubts.clear();
    for (const row of rows) this.map.set(this.key(row), row);
    if (this.map.has(undefined)) this.sub.end(new TidingsError('no_key', `rows of ${this.channel} have no such key: say which it is`, false, this.channel));
    this.changed();
  }

  apply({ type, channel, data, omitted, moved_from: left }) {
    const [, what] = /_(added|updated|deleted|truncated|online|offline)$/.exec(type) ?? [];
    if (!what) return; // it was broadcast
    if (omitted) return this.sub.restart(); // which row it is, is not said
    if (what === 'truncated') {
      this.map.clear();
      this.doubts.clear();
      return this.changed();
    }
    const key = this.key(data);
    const went = what === 'deleted' || (what === 'offline' && this.channel === 'presence') || (left === this.channel && channel !== left);
    const came = what === 'added' || (left && channel === this.channel) || what.endsWith('line');
    if (!came && !this.map.has(key)) { // it was here under another primary key, or the rows know that it went later
      if (!this.sub.ahead) return this.sub.restart();
      if (!went) this.doubts.add(key);
    }
    if (went) this.map.delete(key), this.doubts.delete(key);
    else this.map.set(key, data);
    this.changed();
  }

  /** Tells the listeners: of the first change at once, and then of what changes within a frame together. */
  changed() {
    this.array = undefined;
    if (this.due) return;
    this.due = true;
    const tell = () => {
      this.due = false;
      this.toldAt = Date.now();
      for (const listener of [...this.listeners]) call(listener);
    };
    const pause = this.toldAt + 16 - Date.now();
    if (pause > 0) setTimeout(tell, Math.min(pause, 16));
    else queueMicrotask(tell);
  }
}

/** One user's hold on the rows. @returns {api.Collection} */
function collection(rows, unused) {
  const mine = new Set();
  let closed = false;
  rows.users++;
  return {
    get rows() { return rows.map; },
    get live() { return rows.sub.live; },
    get error() { return rows.error; },
    ready: rows.sub.ready,
    snapshot: () => (rows.array ??= [...rows.map.values()]),
    subscribe(listener) {
      const own = () => listener();
      if (!closed) mine.add(own), rows.listeners.add(own);
      return () => { mine.delete(own), rows.listeners.delete(own); };
    },
    close() {
      if (closed) return;
      closed = true;
      for (const own of mine) rows.listeners.delete(own);
      if (--rows.users) return;
      unused();
      rows.sub.close();
    },
  };
}
