// GraphQL over HTTP.

import { post, RequestError } from './request.js';
import { believed, justRenewed, renew } from './session.js';

/** What the operation answers. A session that has run out is renewed, once. */
export async function graphql(query, variables = {}) {
  try {
    return await send(query, variables);
  } catch (error) {
    // Cookies that have run out are not sent: then the service speaks to nobody in particular.
    const perhaps = error.code === 'UNAUTHENTICATED' || (error.code === 'FORBIDDEN' && believed() && !justRenewed());
    if (!perhaps) throw error;
    // Where there is no session any more, there are no cookies either: what anybody may read is read.
    if (!(await renew()) && query.startsWith('mutation')) throw error;
    return send(query, variables);
  }
}

async function send(query, variables) {
  const { status, answer } = await post('/graphql', { query, variables });
  const error = answer?.errors?.[0];
  if (error !== undefined) {
    const { code, field, retryAfter } = error.extensions ?? {};
    throw new RequestError(code ?? 'INTERNAL', error.message, { field, retryAfter, path: error.path });
  }
  if (answer?.data === undefined || answer.data === null) throw new RequestError('UNAVAILABLE', `the answer is ${status}`);
  return answer.data;
}
