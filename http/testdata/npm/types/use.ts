// What the types of the JavaScript client let through, and what they don't. Nothing of this is run.
import {
  connect,
  TidingsError,
  type Client,
  type Collection,
  type Message,
  type Page,
  type State,
  type Subscription,
  type TidingsEvent,
} from '../../../../clients/js/tidings.js';

interface Post {
  id: number;
  title: string;
}

/** Holds if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_holds: Same<A, B>): void {}

const client = connect();
same<typeof client, Client>(true);
connect({ url: 'https://live.example.com', token: 'x' });
connect({ url: new URL('https://live.example.com'), token: () => null });
connect({ token: async (why) => (why === 'rejected' ? undefined : 'x'), backoff: { max: 1000 }, heartbeat: { after: 1000 } });
connect({ WebSocket: class { constructor(readonly url: string) {} }, fetch });
// @ts-expect-error
connect({ token: () => 5 });
// @ts-expect-error
connect({ tokens: 'x' });

const subscription = client.subscribe<Post>(
  ['messages', 'messages:5'],
  {
    event(event) {
      same<typeof event, TidingsEvent<Post>>(true);
      same<typeof event.data, Post | null>(true);
    },
    rows: (rows, channel) => same<[typeof rows, typeof channel], [Post[], string]>(true),
    signal: ({ type, channel, data }) => [type, channel, data],
    live: (channel) => channel.length,
    reset: (channel, reason) => channel + reason,
    error: (error) => same<typeof error, TidingsError>(true),
  },
  { since: 'x', rows: true, signal: new AbortController().signal, buffer: 5 },
);
same<typeof subscription, Subscription<Post>>(true);
same<typeof subscription.cursor, string | undefined>(true);
// @ts-expect-error
client.subscribe('messages', { events() {} });
// @ts-expect-error
subscription.cursor = 'x';

export async function iterate(): Promise<string | undefined> {
  await subscription.ready;
  for await (const message of client.subscribe<Post>('messages')) {
    same<typeof message, Message<Post>>(true);
    if ('id' in message) return message.data?.title;
    if (message.type === 'error' && 'error' in message) throw message.error;
  }
  const page = await client.load<Post>('messages', { limit: 10, order: 'desc' });
  same<typeof page, Page<Post>>(true);
  return page.next ?? page.rows[0]?.title;
}

const posts = client.collect<Post>('messages', { key: (post) => post.title });
same<typeof posts, Collection<Post>>(true);
same<ReturnType<typeof posts.snapshot>, readonly Post[]>(true);
client.collect('messages', { key: 'id' });
const unsubscribe: () => void = posts.subscribe(() => posts.rows.get(5)?.title);
const states: State[] = ['idle', 'connecting', 'catching up', 'live', 'offline', 'closed'];
const end: () => void = client.onState((state, error) => [states.includes(state), error?.code, error?.retryable, error?.channel]);
unsubscribe();
end();
