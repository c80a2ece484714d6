// "Ada is typing".

import { html, useComputed } from './lib/ui.js';
import { nameOf } from './avatar.js';
import { t } from './i18n.js';
import { userOf } from './people.js';
import { typists } from './typing.js';

export function Typists({ channel }) {
  const users = useComputed(() => (typists.value.get(channel) ?? []).join(' ')).value;
  const [a, b, more] = users === '' ? [] : users.split(' ').map((id) => nameOf(userOf(id)));
  const text = !a ? '' : t(more ? 'typing.many' : b ? 'typing.two' : 'typing.one', { a, b });
  return html`<p class="typing" data-typing=${channel} hidden=${text === ''}><span>${text}</span><i></i><i></i><i></i></p>`;
}
