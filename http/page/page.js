// The page begins here.

import { html, render } from './lib/ui.js';
import { App } from './app.js';
import { data } from './data.js';
import { Elsewhere, followTopics } from './elsewhere.js';
import { begin } from './start.js';

const page = document.getElementById('page');
if (data.channel) {
  render(html`<${App} />`, page);
  begin();
} else {
  render(html`<${Elsewhere} />`, page);
  followTopics();
}
