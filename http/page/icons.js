// Small pictures, drawn with lines in the colour of the text.

import { html } from './lib/ui.js';

const paths = {
  bell: 'M6 10a6 6 0 0 1 12 0c0 5 2 6 2 6H4s2-1 2-6M10 20a2 2 0 0 0 4 0',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M2.5 20a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6.5M18 14.5a6.5 6.5 0 0 1 3.5 5.5',
  menu: 'M4 7h16M4 12h16M4 17h16',
  close: 'M6 6l12 12M18 6 6 18',
  up: 'M12 19V5M6 11l6-6 6 6',
  down: 'M12 5v14M6 13l6 6 6-6',
  live: 'M5 12.5l4.5 4.5L19 7.5',
  'catching up': 'M20 12a8 8 0 1 1-2.5-5.8M20 3v4h-4',
  offline: 'M4 4l16 16M8.5 8.6A9 9 0 0 0 3 12M12 6a9 9 0 0 1 9 6M8.5 15.5a5 5 0 0 1 6 0M12 19h.01',
  comment: 'M4 5h16v11H9l-5 4z',
  pause: 'M9 6v12M15 6v12',
  go: 'M8 5l11 7-11 7z',
};
paths.connecting = paths['catching up'];

export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${paths[name]} /></svg>`;
