// The audit of GraphQL over HTTP, by the package graphql-http: node audit.mjs http://…/graphql
import { auditServer } from 'graphql-http';
import { tell } from './requests.mjs';

for (const { id, name, status, reason, response } of await auditServer({ url: process.argv[2] })) {
  const answer = response && {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: response.bodyUsed ? undefined : await response.text(),
  };
  tell({ id, name, status, reason, answer });
}
