/** Connects to a tidings service. Nothing is opened before something is subscribed to. */
export function connect(options?: Options): Client;

export interface Options {
  /** Where the service is: `https://live.example.com`. In a page, by default the page's own origin. */
  url?: string | URL;
  /**
   * Who the client is: a token or, better, a function that gives one. It is asked whenever a connection is opened, when the token is
   * about to run out, and when one was not taken. Nothing (null, undefined) is nobody, or whom a cookie says.
   */
  token?: string | null | ((why: 'connect' | 'expiring' | 'rejected') => Token | Promise<Token>);
  /** The class to use where there is no global one: that of the package `ws`, in Node before 22. */
  WebSocket?: new (url: string) => any;
  fetch?: typeof globalThis.fetch;
  /** The pause before a connection is tried again, in ms: it doubles from `min` to `max`, and chance takes up to half of it away; 200 and 10,000. */
  backoff?: { min?: number; max?: number };
  /** After how many ms of silence the service is asked whether it is there, and how long it may take to answer; 25,000 and 10,000. */
  heartbeat?: { after?: number; timeout?: number };
}

export type Token = string | null | undefined;

/**
 * - `idle`: nothing is subscribed to
 * - `connecting`: for the first time
 * - `catching up`: connected, and not all subscriptions are live
 * - `live`: what is committed is told
 * - `offline`: the connection was lost, and is tried again
 * - `closed`: by close(), or because coming back makes no sense
 */
export type State = 'idle' | 'connecting' | 'catching up' | 'live' | 'offline' | 'closed';

export interface Client {
  readonly state: State;
  /** Calls back with each state that follows; returns what ends that. `error` is why, where there is a reason. */
  onState(listener: (state: State, error?: TidingsError) => void): () => void;

  /**
   * Subscribes to channels: one subscription, one cursor, and the order of events across them. Where nothing is called back, it is
   * iterated: `for await (const message of client.subscribe('messages'))`.
   */
  subscribe<Row = any>(channels: string | string[], handlers?: Handlers<Row>, options?: SubscribeOptions): Subscription<Row>;

  /** A page of a channel's rows, and the cursor from which to follow them. */
  load<Row = any>(channel: string, options?: LoadOptions): Promise<Page<Row>>;

  /**
   * The rows of a channel, kept as they are in the database: loaded, followed, and loaded afresh when events may be missing. Who collects
   * the same channel by the same column shares them.
   */
  collect<Row = any>(channel: string, options?: CollectOptions<Row>): Collection<Row>;

  /** Says that the user types, to who follows the channel: once a second at most, however often it is called. */
  typing(channel: string): void;

  /** Connects now, and not after the pause. */
  reconnect(): void;
  /** Ends all subscriptions. */
  close(): void;
}

export interface SubscribeOptions {
  /** Begin behind this cursor, and not now. */
  since?: string;
  /** The channels' rows come first, and again after a reset. */
  rows?: boolean;
  /** Ends the subscription. */
  signal?: AbortSignal;
  /** How many messages may wait for who iterates, before the client leaves, to come back with its cursor when they are read; 10,000. */
  buffer?: number;
}

export interface Handlers<Row = any> {
  /** A row's change, a truncation, or what was broadcast to be kept. */
  event?(event: TidingsEvent<Row>): void;
  /** With the option `rows`: all that the channel has. It replaces what there was. */
  rows?(rows: Row[], channel: string): void;
  /** What is kept nowhere: typing, and broadcasts that are not to be kept. */
  signal?(signal: Signal): void;
  /** The channel is live: what is committed from now on is told. Again after each break. */
  live?(channel: string): void;
  /** Events of the channel may be missing: what was known of it is to be loaded afresh. With the option `rows`, they follow. */
  reset?(channel: string, reason: string): void;
  /** A channel cannot be had, or not any more. */
  error?(error: TidingsError): void;
}

export interface Subscription<Row = any> extends AsyncIterable<Message<Row>> {
  readonly channels: readonly string[];
  /** The place that it has come to: all before it was told. Undefined before there is one. */
  readonly cursor: string | undefined;
  /** Whether all its channels are live. */
  readonly live: boolean;
  /** Resolves when all its channels are live for the first time, and rejects when none can be had. */
  readonly ready: Promise<void>;
  close(): void;
}

export interface TidingsEvent<Row = any> {
  /** `message_added`, `message_updated`, `message_deleted`, `messages_truncated`, … */
  type: string;
  /** The event's own channel, the most precise one. */
  channel: string;
  id: string;
  cursor: string;
  /** When it was written, RFC 3339 in microseconds. */
  at: string;
  /** The row; of a deleted one its last state; null for a truncation, and where it is too large to be sent. */
  data: Row | null;
  /** The channel that the row has left. */
  moved_from?: string;
  /** The row is too large to be sent. */
  omitted?: true;
}

export interface Signal {
  type: string;
  channel: string;
  data: any;
}

/** What an iterated subscription brings: events and signals as they are, and notices. */
export type Message<Row = any> =
  | TidingsEvent<Row>
  | Signal
  | { type: 'rows'; channel: string; rows: Row[]; cursor: string }
  | { type: 'live'; channel: string; cursor: string }
  | { type: 'reset'; channel: string; reason: string }
  | { type: 'error'; channel?: string; error: TidingsError };

export interface LoadOptions {
  limit?: number;
  order?: 'asc' | 'desc';
  /** The `next` of the page before. */
  after?: string;
  signal?: AbortSignal;
}

export interface Page<Row = any> {
  channel: string;
  rows: Row[];
  cursor: string;
  next: string | null;
}

export interface CollectOptions<Row = any> {
  /** The primary key: a column, or what makes one of a row; `id`, and of `presence` `user`. */
  key?: string | ((row: Row) => unknown);
}

/** It suits React's useSyncExternalStore: `useSyncExternalStore(c.subscribe, c.snapshot)`. */
export interface Collection<Row = any> {
  /** By primary key. */
  readonly rows: ReadonlyMap<unknown, Row>;
  /** The rows in the order of their keys' first appearance; the same array as long as nothing has changed. */
  snapshot(): readonly Row[];
  /** Calls back after each change; returns what ends that. */
  subscribe(listener: () => void): () => void;
  readonly live: boolean;
  /** Why the channel cannot be had, or not any more. */
  readonly error: TidingsError | undefined;
  readonly ready: Promise<void>;
  close(): void;
}

/** `code` is one of the protocol's. `retryable` says whether the client comes back by itself. */
export class TidingsError extends Error {
  readonly code: string;
  readonly channel?: string;
  readonly retryable: boolean;
}
