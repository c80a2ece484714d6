// What was begun to be written, kept for each user and each place until it is sent.

import { keep, kept } from './kept.js';
import { me } from './session.js';

const key = (place) => `draft.${me.peek()?.id ?? 'nobody'}.${place}`;

export const draft = (place) => kept(key(place));
/** Null forgets it. */
export const keepDraft = (place, value) => keep(key(place), value);
