// What is known of the service: asked once a second, and kept for the plots. Nothing of it is asked of a stream, which the service in trouble
// would have to feed: an answer that does not come is seen at once.

import { batch, computed, signal } from '../lib/ui.js';
import { graphql } from './api.js';

/** The newest answer; null: none yet. */
export const service = signal(null);
/** The watched tables; null: not known yet. */
export const watched = signal(null);
/** Whether this page may watch and unwatch. */
export const mayWatch = signal(false);
/** Since when there is no answer, and why: {since, error}; null: there are answers. */
export const failing = signal(null);
/** Why nobody is told anything any more: UNAUTHENTICATED or FORBIDDEN; null: he is. */
export const refused = signal(null);
/** The moment of the last answer. */
export const answeredAt = signal(null);
/** For the plots: {t, events, delivered, lag, connections, behind, logBytes}, the oldest first. */
export const history = signal([]);
/** Rates by instance: {events, delivered, cpu}. */
export const rates = signal(new Map());
/** Instances that were silent before they were not there any more: {name, label, at}. */
export const lost = signal([]);
/** What was refused in the last minute, by code. */
export const refusedLately = signal({});

export const stale = computed(() => failing.value !== null);

const kept = 1800; // samples: half an hour

const query = `query Service {
  service {
    instance at databaseProblem usersOnline mayWatch
    instances {
      name host address version startedAt at silentSeconds live listening beating stopping redis lagSeconds lastRead events missing delivered judged
      queries connections maxConnections users subscribers behind waiting recentBytes refused { code count }
      graphqlSubscriptions graphqlPlans cpuSeconds memoryBytes
    }
    log { bytes maxBytes entries oldestAt newestAt retentionSeconds partitions { name startedAt bytes current } }
    channels(first: 50) { channel subscribers exact }
  }
}`;

const watchedQuery = `query Watched { service { watched { table topic event key columns read problem } } }`;

export const label = (instance) => `${instance.host} ${instance.address}`;

const before = new Map(); // by instance: the figures that its rate was last made from

// rate says how fast an instance counts: by its own clock, which stands still between what two answers tell of it.
function rate(instance, last) {
  const was = before.get(instance.name);
  const at = Date.parse(instance.at);
  if (was === undefined || at < was.at) { // or its clock was put back
    before.set(instance.name, { ...instance, at });
    return last;
  }
  if (at - was.at < 200) return last;
  const seconds = (at - was.at) / 1000;
  before.set(instance.name, { ...instance, at });
  return {
    events: (instance.events - was.events) / seconds,
    delivered: (instance.delivered - was.delivered) / seconds,
    cpu: (instance.cpuSeconds - was.cpuSeconds) / seconds,
  };
}

const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);
const most = (list) => list.reduce((max, n) => (n === null || n === undefined ? max : Math.max(max ?? 0, n)), null);

function take(answer) {
  const now = Date.now();
  const instances = answer.instances;
  const current = new Map();
  for (const instance of instances) current.set(instance.name, rate(instance, rates.value.get(instance.name)));
  for (const name of before.keys()) if (!current.has(name)) before.delete(name);
  const all = [...current.values()].filter((r) => r !== undefined);

  // Who stops says so, and is not there any more. Who was silent before was killed.
  const gone = (service.value?.instances ?? []).filter((i) => i.silentSeconds > 4 && !current.has(i.name) && answer.databaseProblem === null)
    .map((i) => ({ name: i.name, label: label(i), at: now - i.silentSeconds * 1000 }));

  const sample = {
    t: now,
    events: most(all.map((r) => r.events)), // each instance reads all
    delivered: all.length > 0 ? sum(all, (r) => r.delivered) : null,
    lag: most(instances.map((i) => i.lagSeconds)),
    connections: sum(instances, (i) => i.connections),
    behind: sum(instances, (i) => i.behind),
    logBytes: answer.log?.bytes ?? null,
  };
  batch(() => {
    service.value = { ...answer, log: answer.log ?? service.value?.log ?? null };
    mayWatch.value = answer.mayWatch;
    rates.value = current;
    failing.value = null;
    refused.value = null;
    answeredAt.value = now;
    history.value = [...history.value.slice(1 - kept), sample];
    lost.value = [...lost.value.filter((one) => !current.has(one.name)), ...gone];
    countRefused(instances, now);
  });
}

let marks = []; // of what was refused: {t, names, totals}, the oldest first

function countRefused(instances, now) {
  const mark = { t: now, names: new Set(instances.map((i) => i.name)), totals: new Map() };
  for (const i of instances) for (const { code, count } of i.refused) mark.totals.set(`${i.name} ${code}`, count);
  const recent = marks.filter((one) => now - one.t < 60_000);
  if (recent.length === 0) recent.push(...marks.slice(-1).filter((one) => now - one.t < 90_000)); // a tab in the background asks once a minute
  marks = [...recent, mark];
  const lately = {};
  for (const i of instances) {
    const first = marks.find((one) => one.names.has(i.name));
    for (const { code, count } of i.refused) {
      const more = count - (first.totals.get(`${i.name} ${code}`) ?? 0);
      if (more > 0) lately[code] = (lately[code] ?? 0) + more;
    }
  }
  refusedLately.value = lately;
}

export const forget = (name) => { lost.value = lost.value.filter((one) => one.name !== name); };

/** What is refused because of who asks. */
const ofWho = (error) => ['UNAUTHENTICATED', 'FORBIDDEN', 'NOT_FOUND'].includes(error.code);

async function ask() {
  const since = Date.now();
  try {
    const answer = await graphql(query, {}, 5000);
    take(answer.service);
  } catch (error) {
    if (ofWho(error)) refused.value = error.code;
    failing.value = { since: failing.value?.since ?? since, error };
  }
}

export async function askWatched() {
  try {
    const answer = await graphql(watchedQuery, {}, 5000);
    if (answer.service) watched.value = answer.service.watched;
  } catch {
    // what was known stays; that there is no answer is said by the other query
  }
}

/** Asks until the function that it returns is called, which resolves when what was being asked is answered. */
export function follow() {
  let stopped = false;
  let asking = null;
  (async () => {
    for (let n = 0; !stopped; n += 1) {
      // What is wrong with the tables takes the database a while to find out: every ten seconds will do.
      asking = Promise.all([ask(), n % 10 === 0 ? askWatched() : null]);
      await asking;
      await new Promise((resolve) => setTimeout(resolve, failing.value === null ? 1000 : 1000 + 1000 * Math.random()));
    }
  })();
  return () => {
    stopped = true;
    return asking;
  };
}
