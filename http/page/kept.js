// What the browser keeps between visits. Where it keeps nothing, the page works without.

export function kept(key, otherwise = null) {
  try {
    const text = localStorage.getItem(`tidings.${key}`);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

export function keep(key, value) {
  try {
    if (value === null || value === undefined) localStorage.removeItem(`tidings.${key}`);
    else localStorage.setItem(`tidings.${key}`, JSON.stringify(value));
  } catch {
    // There is no room, or nothing may be kept.
  }
}

/** The rest of each key that begins so. */
export function keysOf(beginning) {
  try {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(`tidings.${beginning}`))
      .map((key) => key.slice(`tidings.${beginning}`.length));
  } catch {
    return [];
  }
}
