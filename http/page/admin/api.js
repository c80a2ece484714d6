// GraphQL, as who has signed in: by the cookies of this browser, or by a token that was pasted and is kept in this page alone.

import { signal } from '../lib/ui.js';
import { RequestError } from '../request.js';
import { believed, justRenewed, renew } from '../session.js';

/** A token of an issuer; null: cookies. */
export const token = signal(null);

// An operator is not to wait as long as others for an answer that does not come.
async function send(query, variables, patience) {
  const headers = { 'Content-Type': 'application/json', Accept: 'application/json' };
  if (token.value !== null) headers.Authorization = `Bearer ${token.value}`;
  let response;
  let text;
  try {
    response = await fetch('/graphql', { method: 'POST', headers, body: JSON.stringify({ query, variables }), signal: AbortSignal.timeout(patience) });
    text = await response.text();
  } catch (error) {
    throw new RequestError(error.name === 'TimeoutError' ? 'TIMEOUT' : 'OFFLINE', error.name === 'TimeoutError' ? 'it takes too long' : 'it cannot be reached');
  }
  let answer = null;
  try {
    answer = JSON.parse(text);
  } catch {
    // It is no JSON.
  }
  if (answer?.data === undefined && !Array.isArray(answer?.errors)) {
    throw new RequestError('OFFLINE', `something else than the service has answered, with the status ${response.status}`);
  }
  const error = answer.errors?.[0];
  // What can be had is taken, where a part cannot.
  const some = Object.values(answer.data ?? {}).some((value) => value !== null);
  if (error !== undefined && !some) throw new RequestError(error.extensions?.code ?? 'INTERNAL', error.message, { field: error.extensions?.field });
  return answer.data;
}

/** What the operation answers. A session that has run out is renewed, and the operation is sent again. */
export async function graphql(query, variables = {}, patience = 15_000) {
  try {
    return await send(query, variables, patience);
  } catch (error) {
    if (error.code !== 'UNAUTHENTICATED' || token.value !== null || !believed() || justRenewed() || !(await renew())) throw error;
    return send(query, variables, patience);
  }
}
