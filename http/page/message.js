// One message.

import { html, useRef, useSignal } from './lib/ui.js';
import { Avatar, nameOf } from './avatar.js';
import { Edit } from './composer.js';
import { confirm } from './confirm.js';
import { t } from './i18n.js';
import { messageOf, peekMessage } from './messages.js';
import { submit } from './outbox.js';
import { Status, usePending } from './pending.js';
import { userOf } from './people.js';
import { Text } from './text.js';
import { mayChange, Thread } from './thread.js';
import { ago, exactly, Time } from './time.js';

export function Message({ id }) {
  const message = messageOf(id);
  const editing = useSignal(false);
  const edit = useRef(null);
  const article = useRef(null);
  const fresh = useRef(message?.arrived && Date.now() - message.arrived < 2000);
  const pending = usePending((entry) => entry.messageId === id && (entry.kind === 'updateMessage' || entry.kind === 'deleteMessage'));
  if (!message) return null;

  const changing = pending.find((entry) => entry.kind === 'updateMessage');
  const deleting = pending.find((entry) => entry.kind === 'deleteMessage' && entry.state !== 'failed');
  const { title, content } = { ...message, ...changing?.input };
  const stop = () => {
    editing.value = false;
    requestAnimationFrame(() => edit.current?.focus());
  };
  const save = (values) => {
    submit('updateMessage', { id, ...values }, { messageId: id });
    stop();
  };
  const remove = async () => {
    const n = peekMessage(id)?.commentCount ?? 0;
    const text = n > 0 ? t('deleteMessage.more', { n }) : t('deleteMessage.alone');
    if (!(await confirm({ title: t('deleteMessage.ask'), text, action: t('delete') }))) return;
    const next = article.current?.nextElementSibling ?? article.current?.previousElementSibling;
    submit('deleteMessage', { id }, { messageId: id });
    if (next?.matches('article')) next.focus({ preventScroll: true });
  };
  return html`<article class="message" ref=${article} id="message-${id}" data-id=${id} data-arrived=${fresh.current || undefined} data-deleting=${deleting ? '' : undefined}
    tabindex="0" aria-labelledby="title-${id}">
    <${Avatar} id=${message.authorId} />
    <div class="body">
      <header>
        <p class="by"><strong class="author">${nameOf(userOf(message.authorId))}</strong> <a class="when" href="#message-${id}" aria-label="${t('link')}, ${ago(message.createdAt)}"><${Time} at=${message.createdAt} /></a>
          ${message.updatedAt !== message.createdAt && html`<span class="edited" title=${t('edited.at', { when: exactly(message.updatedAt) })}> · ${t('edited')}</span>`}
          ${mayChange(message.authorId) && !editing.value && !deleting && html`<span class="actions">
            <button type="button" class="link" ref=${edit} data-edit aria-label=${t('edit.of', { title })} onClick=${() => { editing.value = true; }}>${t('edit')}</button>
            <button type="button" class="link" data-delete aria-label=${t('delete.of', { title })} onClick=${remove}>${t('delete')}</button>
          </span>`}</p>
        <h3 id="title-${id}" hidden=${editing.value}>${title}</h3>
      </header>
      ${editing.value
    ? html`<${Edit} place=${`message.${id}`} label=${t('edit.of', { title: message.title })} was=${{ title: message.title, content: message.content }} onSave=${save} onCancel=${stop} />`
    : content !== '' && html`<p class="content"><${Text} text=${content} /></p>`}
      ${pending.map((entry) => html`<${Status} key=${entry.key} entry=${entry} />`)}
      <${Thread} message=${message} />
    </div>
  </article>`;
}
