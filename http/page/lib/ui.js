// What the pages are made with, in one place.

import { h } from './preact.js';
import htm from './htm.js';

export { Fragment, h, render } from './preact.js';
export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from './hooks.js';
export { batch, computed, effect, signal, useComputed, useSignal, useSignalEffect } from './signals.js';

/** Elements, written as they are in HTML. */
export const html = htm.bind(h);
