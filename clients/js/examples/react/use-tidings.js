import { useMemo, useSyncExternalStore } from 'react';

const none = [];

/** The rows of a channel, as they are in the database. Components that use the same channel share its rows. */
export function useCollection(client, channel) {
  const store = useMemo(() => {
    let collection;
    return {
      subscribe(listener) {
        const own = (collection = client.collect(channel));
        const unsubscribe = own.subscribe(listener);
        return () => {
          unsubscribe();
          own.close();
        };
      },
      snapshot: () => collection?.snapshot() ?? none,
    };
  }, [client, channel]);
  return useSyncExternalStore(store.subscribe, store.snapshot, () => none);
}

/** The state of the connection: `live`, `offline`, … */
export function useConnection(client) {
  return useSyncExternalStore(client.onState, () => client.state, () => client.state);
}
