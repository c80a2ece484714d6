// Prints what happens in channels, until it is interrupted, and goes on there when it is started again:
//   node node.mjs http://127.0.0.1:8080 messages comments:1
// Node before 22 has no WebSocket: npm install ws.
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'tidings';

const [url, ...channels] = process.argv.slice(2);
const WebSocket = globalThis.WebSocket ?? (await import('ws')).default;
const client = connect({ url, WebSocket, token: process.env.TIDINGS_TOKEN });
client.onState((state, error) => console.error(error ? `${state}: ${error.message}` : state));
process.once('SIGINT', () => client.close());

const since = await readFile('cursor', 'utf8').catch(() => undefined);
for await (const message of client.subscribe(channels, undefined, { since })) {
  if (message.type === 'error') console.error(message.error.message);
  if (message.type === 'reset') console.error(`${message.channel}: events may be missing (${message.reason})`);
  if (message.id) console.log(message.type, JSON.stringify(message.data));
  if (message.cursor) await writeFile('cursor', message.cursor);
}
