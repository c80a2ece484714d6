// The package graphql-ws, which speaks graphql-transport-ws: node graphql-ws.mjs ws://…/graphql
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { serve, tell } from './requests.mjs';

const client = createClient({
  url: process.argv[2],
  webSocketImpl: WebSocket,
  lazy: false, // one connection for all there is to ask
  retryAttempts: Infinity,
  retryWait: () => new Promise((resolve) => setTimeout(resolve, 50)),
  shouldRetry: () => true, // in Node a refused connection is an error, and no close
  on: {
    connected: (_socket, _payload, again) => tell({ connected: true, again }),
    closed: ({ code, reason }) => tell({ closed: { code, reason: String(reason) } }),
  },
});

await serve((request, sink) => client.subscribe(request, sink), () => client.dispose());
