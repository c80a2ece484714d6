// The JavaScript client in Node: node tidings.mjs. It evaluates the expressions that it reads, and tells what they are.
import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { connect, TidingsError } from '../../../clients/js/tidings.js';
import { tell } from './requests.mjs';
import { follow } from './tidings-follow.mjs';

Object.assign(globalThis, { TidingsError, follow, connect: (options) => connect({ WebSocket, ...options }) });

for await (const line of createInterface({ input: process.stdin })) {
  const { id, code } = JSON.parse(line);
  evaluate(code).then(
    (value) => tell({ id, value }),
    (error) => tell({ id, error: error.stack ?? String(error) }),
  );
}

// evaluate resolves to the value of an expression, which may wait for something.
async function evaluate(code) {
  return (0, eval)(`(async () => (${code}))()`);
}
