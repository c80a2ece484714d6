// What is wrong, in words, and what to do: from what the service says of itself, by fixed rules.

import { label } from './state.js';

/** Codes of refusals that whoever runs the service may want to look into. */
const suspicious = ['too_many_connections', 'too_many_connections_from_address', 'too_many_connections_of_user', 'rate_limited',
  'too_many_attempts', 'origin_not_allowed', 'bad_frames', 'body_too_large'];

/** The name of the words for no answer: it has reached nobody, or the service can tell nothing. */
export const noAnswer = (error) => (['OFFLINE', 'TIMEOUT'].includes(error.code) ? 'noAnswer' : 'untold');

/**
 * A list of {key, level, name, values}: level is bad, warn or note; name is that of the words, wrong.<name> and do.<name>.
 */
export function whatIsWrong({ service, watched, failing, lost, refusedLately }, format) {
  const list = [];
  const add = (level, name, values = {}, key = name) => list.push({ key, level, name, values });
  if (failing !== null) add('bad', noAnswer(failing.error), { since: format.moment(failing.since), why: failing.error.message });
  if (service === null) return list;
  if (service.databaseProblem !== null) add('bad', 'database', { why: service.databaseProblem });
  for (const i of service.instances) {
    const values = { instance: label(i) };
    const about = (level, name, more = {}) => add(level, name, { ...values, ...more }, `${name} ${i.name}`);
    if (i.silentSeconds > 4) {
      about('bad', 'silent', { for: format.duration(Math.floor(i.silentSeconds)) });
      continue; // what it said before says nothing of now
    }
    if (i.stopping) {
      about('note', 'stopping');
      continue;
    }
    if (!i.live) about('bad', 'notLive');
    else if (!i.beating) about('bad', 'notBeating');
    else if (i.lagSeconds > 1) about('warn', 'lag', { lag: format.duration(i.lagSeconds) });
    if (i.live && !i.listening) about('warn', 'notListening');
    if (i.redis === 'ALONE') about('warn', 'alone');
    if (i.missing > 0) about('bad', 'missing', { n: i.missing });
    if (i.connections >= 0.9 * i.maxConnections) about('warn', 'full', { n: i.connections, max: i.maxConnections });
    if (i.behind > Math.max(20, i.subscribers / 10)) about('warn', 'behind', { n: i.behind, all: i.subscribers });
  }
  for (const one of lost) {
    const values = { instance: one.label, at: format.moment(one.at), forget: one.name };
    const next = service.instances.find((i) => label(i) === one.label);
    if (next === undefined) add('warn', 'lost', values, `lost ${one.name}`);
    else add('note', 'restarted', { ...values, started: format.moment(next.startedAt) }, `restarted ${one.name}`);
  }
  for (const w of watched ?? []) {
    if (w.problem !== null) add('warn', 'watch', { table: w.table, problem: w.problem }, `watch ${w.table}`);
  }
  const { log } = service;
  if (log !== null) {
    if (log.bytes > 0.8 * log.maxBytes) add('warn', 'log', { bytes: format.bytes(log.bytes), max: format.bytes(log.maxBytes) });
    const age = log.oldestAt === null ? 0 : (Date.parse(service.at) - Date.parse(log.oldestAt)) / 1000; // by two clocks, which may differ
    if (age > 1.5 * log.retentionSeconds + 600) add('warn', 'logHeld', { age: format.duration(age), retention: format.duration(log.retentionSeconds) });
  }
  for (const code of suspicious) {
    if (refusedLately[code] > 0) add('warn', 'refused', { code, n: refusedLately[code] }, `refused ${code}`);
  }
  if (new Set(service.instances.map((i) => i.version)).size > 1) {
    add('note', 'versions', { versions: [...new Set(service.instances.map((i) => i.version))].join(', ') });
  }
  if (watched !== null && watched.length === 0) add('note', 'nothingWatched');
  const order = { bad: 0, warn: 1, note: 2 };
  return list.sort((a, b) => order[a.level] - order[b.level]);
}
