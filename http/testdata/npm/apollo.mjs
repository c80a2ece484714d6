// Apollo Client, with automatic persisted queries, and subscriptions by its link for graphql-ws:
// node apollo.mjs http://…/graphql ws://…/graphql
import { createHash } from 'node:crypto';
import { ApolloClient, ApolloLink, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { GraphQLWsLink } from '@apollo/client/link/subscriptions';
import { OperationTypeNode } from 'graphql';
import { createClient } from 'graphql-ws';
import WebSocket from 'ws';
import { serve, tell } from './requests.mjs';

const [httpURL, wsURL] = process.argv.slice(2);

// observedFetch tells what goes over HTTP.
async function observedFetch(url, options) {
  const response = await fetch(url, options);
  const { query, extensions } = JSON.parse(options.body);
  const answer = await response.clone().json();
  tell({ http: { query, hash: extensions?.persistedQuery?.sha256Hash, status: response.status, answer } });
  return response;
}

const http = ApolloLink.from([
  new PersistedQueryLink({ sha256: (text) => createHash('sha256').update(text).digest('hex') }),
  new HttpLink({ uri: httpURL, fetch: observedFetch }),
]);
const socket = createClient({ url: wsURL, webSocketImpl: WebSocket });
const client = new ApolloClient({
  cache: new InMemoryCache(),
  link: ApolloLink.split(({ operationType }) => operationType === OperationTypeNode.SUBSCRIPTION, new GraphQLWsLink(socket), http),
  defaultOptions: { query: { fetchPolicy: 'network-only' } },
});

function begin({ query: text, variables }, sink) {
  const document = gql(text);
  switch (document.definitions[0].operation) {
    case 'subscription': {
      const next = (result) => (result.error ? sink.error(result.error) : sink.next(result));
      const subscription = client.subscribe({ query: document, variables }).subscribe({ ...sink, next });
      return () => subscription.unsubscribe();
    }
    case 'mutation':
      client.mutate({ mutation: document, variables }).then(sink.next, sink.error);
      return () => {};
    default:
      client.query({ query: document, variables }).then(sink.next, sink.error);
      return () => {};
  }
}

await serve(begin, async () => {
  client.stop();
  await socket.dispose();
});
