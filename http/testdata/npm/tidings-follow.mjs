// What a test has the JavaScript client do, in Node and in a browser: it follows the channels of the table things in all ways that
// there are, opens and closes subscriptions at random, and notes what it is told.

export function follow(client) {
  const records = [];
  const collections = [];
  const states = [];
  client.onState((state) => states.push(state));

  // A segment is what comes behind a cursor without a break.
  function begin(record, cursor) {
    record.segments.push({ cursor, events: [] });
    record.broken = false;
  }

  function note(record, { id, type, data }) {
    record.segments.at(-1).events.push({ id, row: type.endsWith('_truncated') ? '' : type.split('_', 1)[0] + data.id });
  }

  function called(channels, since) {
    const record = { kind: 'called', channels, segments: [], broken: true, resets: [] };
    const subscription = client.subscribe(
      channels,
      {
        event: (event) => note(record, event),
        live: () => record.broken && begin(record, subscription.cursor),
        reset: (channel, reason) => { record.broken = true; record.resets.push(reason); },
        error: (error) => { record.error = `${error.code}: ${error.message}`; },
      },
      { since },
    );
    if (since) begin(record, since);
    record.subscription = subscription;
    records.push(record);
    return record;
  }

  function iterated(channels, since) {
    const subscription = client.subscribe(channels, undefined, { since, buffer: 300 });
    const record = { kind: 'iterated', channels, segments: [], broken: true, resets: [], subscription };
    if (since) begin(record, since);
    records.push(record);
    (async () => {
      for await (const message of subscription) {
        if (message.type === 'live') record.broken && begin(record, message.cursor);
        else if (message.type === 'reset') { record.broken = true; record.resets.push(message.reason); }
        else if (message.id) note(record, message);
        if (Math.random() < 0.1) await new Promise((resolve) => setTimeout(resolve, record.hurry ? 0 : 60 * Math.random()));
      }
    })().catch((error) => { record.error = String(error); });
    return record;
  }

  function withRows(channel) {
    const record = { kind: 'with rows', channels: [channel], segments: [], resets: [] };
    record.subscription = client.subscribe(
      channel,
      {
        rows: () => begin(record, ''),
        event: (event) => note(record, event),
        reset: (channel, reason) => record.resets.push(reason),
        error: (error) => { record.error = `${error.code}: ${error.message}`; },
      },
      { rows: true },
    );
    records.push(record);
    return record;
  }

  function collected(channel) {
    const collection = client.collect(channel);
    const record = { channel, collection, told: 0 };
    collection.subscribe(() => record.told++);
    collections.push(record);
    return record;
  }

  const pick = (list) => list[Math.floor(Math.random() * list.length)];
  const key = () => Math.floor(Math.random() * 5);
  const channels = () => pick([['things'], [`things:${key()}`], ['things', `things:${key()}`], ['things:0', 'things:1', 'things:2'], ['noise', `things:${key()}`]]);

  function open() {
    const since = Math.random() < 0.3 ? records.findLast((record) => record.subscription.cursor)?.subscription.cursor : undefined;
    const way = Math.random();
    if (way < 0.35) called(channels(), since);
    else if (way < 0.5) iterated(channels(), since);
    else if (way < 0.65) withRows(`things:${key()}`);
    else collected(pick(['things', `things:${key()}`]));
  }

  function leave() {
    const open = [...records, ...collections].filter((record) => !record.closed && !record.stays);
    const record = pick(open);
    if (!record) return;
    if (record.subscription) record.at = record.subscription.cursor;
    record.closed = true;
    (record.subscription ?? record.collection).close();
    if (record.kind === 'called' && record.at && Math.random() < 0.5) called(record.channels, record.at); // at once, where it was
  }

  for (const record of [
    called(['things', 'noise']), called(['things']), called(['things:3', 'things:4', 'things']), iterated(['things']),
    collected('things'), collected('things:0'), collected('things:1'), collected('things:2'), withRows('things:1'),
  ]) record.stays = true;

  let churning = true;
  (async () => {
    while (churning) {
      await new Promise((resolve) => setTimeout(resolve, 20 + 60 * Math.random()));
      if (records.concat(collections).filter((record) => !record.closed).length < 22) open();
      if (Math.random() < 0.6) leave();
    }
  })();

  return {
    calm() {
      churning = false;
      for (const record of records) record.hurry = true;
    },
    report() {
      return {
        state: client.state,
        states,
        links: client.links.size,
        records: records.map(({ subscription, ...record }) => ({ ...record, live: subscription.live })),
        collections: collections.filter((record) => !record.closed).map(({ channel, collection, told }) => ({
          channel, told, live: collection.live, rows: [...collection.rows.values()].map(({ id, k, n, prev }) => ({ id, k, n, prev })),
        })),
      };
    },
  };
}
