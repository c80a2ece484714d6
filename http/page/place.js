// The order of rows: when they were written, and of those written at the same moment by their ids.

/** A moment in UTC with six digits of a second, so that moments compare as texts do. Events and GraphQL write them in different ways. */
export function moment(text) {
  const found = /^(\d{4,}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:Z|\+00:00)$/.exec(text ?? '');
  return found ? `${found[1]}.${(found[2] ?? '').padEnd(6, '0')}Z` : text ?? '';
}

export function compare(a, b) {
  if (a.createdAt !== b.createdAt) return a.createdAt < b.createdAt ? -1 : 1;
  return compareIds(a.id, b.id);
}

function compareIds(a, b) {
  if (a === b) return 0;
  return BigInt(a) < BigInt(b) ? -1 : 1;
}

/** The first moment after one. */
export function justAfter(at) {
  const micros = Number(at.slice(-7, -1)) + 1;
  if (micros < 1_000_000) return `${at.slice(0, -7)}${String(micros).padStart(6, '0')}Z`;
  const next = new Date(`${at.slice(0, -8)}Z`).getTime() + 1000;
  return `${new Date(next).toISOString().slice(0, -5)}.000000Z`;
}

/** Where the thing belongs in a sorted list: the index of the first that comes behind it. */
export function indexFor(list, thing) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compare(list[middle], thing) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
