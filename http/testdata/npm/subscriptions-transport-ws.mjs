// The package subscriptions-transport-ws, which speaks the legacy protocol: node subscriptions-transport-ws.mjs ws://…/graphql
import { SubscriptionClient } from 'subscriptions-transport-ws';
import WebSocket from 'ws';
import { serve, tell } from './requests.mjs';

const client = new SubscriptionClient(process.argv[2], {}, WebSocket);
client.onConnected(() => tell({ connected: true }));

await serve(
  (request, sink) => client.request(request).subscribe(sink).unsubscribe,
  () => client.close(),
);
