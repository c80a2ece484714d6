// The package graphql-sse, in its distinct connections mode: node graphql-sse.mjs http://…/graphql
import { createClient } from 'graphql-sse';
import { serve, tell } from './requests.mjs';

const client = createClient({
  url: process.argv[2],
  retryAttempts: Infinity,
  retry: () => new Promise((resolve) => setTimeout(resolve, 50)),
  on: {
    connected: (again) => tell({ connected: true, again }),
  },
});

await serve((request, sink) => client.subscribe(request, sink), () => client.dispose());
