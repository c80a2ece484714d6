// Requests to the service, and what may be wrong with them.

const patience = 20_000; // ms

/** `code` is one of the service's, or OFFLINE where nothing was answered. */
export class RequestError extends Error {
  constructor(code, message, { field, path, retryAfter } = {}) {
    super(message);
    this.code = code;
    this.field = field;
    this.path = path;
    this.retryAfter = retryAfter;
  }

  /** Whether nobody has said no: it may be sent again, and may have been done. */
  get unanswered() {
    return ['OFFLINE', 'TIMEOUT', 'UNAVAILABLE', 'NOT_READY', 'INTERNAL'].includes(this.code);
  }
}

/** Posts JSON, and returns the status and what is answered. */
export async function post(path, body) {
  let response;
  let text;
  try {
    response = await fetch(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(patience),
    });
    text = await response.text();
  } catch (error) {
    throw new RequestError(error.name === 'TimeoutError' ? 'TIMEOUT' : 'OFFLINE', 'the service cannot be reached');
  }
  try {
    return { status: response.status, answer: text === '' ? null : JSON.parse(text) };
  } catch {
    throw new RequestError('UNAVAILABLE', `something else than the service has answered, with the status ${response.status}`);
  }
}
