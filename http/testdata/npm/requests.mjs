// What the scripts have in common: they read requests and tell what happens, as one JSON text a line.
import { createInterface } from 'node:readline';

// tell prints that something has happened.
export function tell(event) {
  process.stdout.write(JSON.stringify(event) + '\n');
}

// serve begins an operation for each request that is read, {"id", "query", "variables"}, and stops it on {"id", "stop": true}.
// begin(request, sink) returns what stops it. When there is nothing more to read, end() is to close the client.
export async function serve(begin, end) {
  const stops = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, stop, ...request } = JSON.parse(line);
    if (stop) {
      stops.get(id)();
    } else {
      stops.set(id, begin(request, sink(id, request)));
    }
  }
  await end();
}

// sink tells of an operation.
function sink(id, request) {
  return {
    next(result) {
      // A client that reconnects sends this object again: so it goes on behind what it has.
      const cursor = result.extensions?.cursor;
      if (cursor && request.variables) {
        request.variables.since = cursor;
      }
      tell({ id, result });
    },
    error(error) {
      tell({ id, errors: errorsOf(error) });
    },
    complete() {
      tell({ id, complete: true });
    },
  };
}

// errorsOf is a list, whatever it is that a client gives: the server's list, an error with that list, an error, a close.
function errorsOf(error) {
  return Array.isArray(error) ? error : (error.errors ?? [{ message: error.message ?? `${error.code} ${error.reason}` }]);
}
