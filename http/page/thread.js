// The comments below a message.

import { html, useComputed, useRef, useSignal } from './lib/ui.js';
import { Avatar, nameOf } from './avatar.js';
import { hasEarlier } from './comments.js';
import { Edit, NewComment } from './composer.js';
import { confirm } from './confirm.js';
import { draft } from './drafts.js';
import { errorText, t } from './i18n.js';
import { commentsAllowed, loadEarlier } from './load.js';
import { submit } from './outbox.js';
import { Status, usePending } from './pending.js';
import { userOf } from './people.js';
import { me } from './session.js';
import { Text } from './text.js';
import { exactly, Time } from './time.js';
import { Typists } from './typists.js';

const few = 3;

export const mayChange = (authorId) => {
  const user = me.value;
  return user !== null && (user.id === authorId || user.role === 'moderator' || user.role === 'admin');
};

export function Thread({ message }) {
  const open = useSignal(false);
  const writing = useSignal(me.peek() !== null && draft(`comment.${message.id}`) !== null);
  const problem = useSignal(null);
  const busy = useSignal(false);
  const pending = usePending((entry) => entry.kind === 'createComment' && entry.messageId === message.id && !entry.shown);
  const opener = useRef(null);
  if (!commentsAllowed.value) return null;

  const list = open.value ? message.comments : message.comments.slice(-few);
  const hidden = message.commentCount - list.length;
  const show = async () => {
    open.value = true;
    problem.value = null;
    if (!hasEarlier(message)) return;
    busy.value = true;
    try {
      await loadEarlier(message.id);
    } catch (error) {
      problem.value = error;
    }
    busy.value = false;
  };
  const write = () => {
    writing.value = true;
    requestAnimationFrame(() => document.querySelector(`#message-${message.id} [data-composer="comment"] textarea`)?.focus());
  };
  const cancel = () => {
    writing.value = false;
    requestAnimationFrame(() => opener.current?.focus());
  };
  const send = (content) => submit('createComment', { messageId: message.id, content }, { messageId: message.id });
  const user = me.value;
  return html`<section class="thread" aria-label=${t('comments.of', { title: message.title })}>
    ${hidden > 0 && html`<button type="button" class="link" data-earlier disabled=${busy.value} onClick=${show}>${t('comments.all', { n: hidden })}</button>`}
    ${open.value && list.length > few && hidden === 0 && html`<button type="button" class="link" onClick=${() => { open.value = false; }}>${t('comments.fewer')}</button>`}
    ${problem.value && html`<p class="problem" role="alert">${errorText(problem.value)}</p>`}
    ${(list.length > 0 || pending.length > 0) && html`<ul class="comments">
      ${list.map((comment) => html`<${Comment} key=${comment.id} comment=${comment} />`)}
      ${pending.map((entry) => html`<li key=${entry.key} class="comment pending" data-pending=${entry.state}>
        <${Avatar} id=${entry.user} />
        <div><p class="by"><strong class="author">${nameOf(userOf(entry.user))}</strong></p><p class="content">${entry.input.content}</p><${Status} entry=${entry} /></div>
      </li>`)}
    </ul>`}
    <${Typists} channel=${`comments:${message.id}`} />
    ${user && (writing.value
    ? html`<${NewComment} key=${user.id} messageId=${message.id} title=${message.title} onSend=${send} onCancel=${cancel} />`
    : html`<button type="button" class="link" ref=${opener} data-comment aria-label="${t('comment')}: ${message.title}" onClick=${write}>${t('comment')}</button>`)}
  </section>`;
}

function Comment({ comment }) {
  const editing = useSignal(false);
  const edit = useRef(null);
  const pending = usePending((entry) => entry.commentId === comment.id && entry.kind !== 'createComment');
  const changing = pending.find((entry) => entry.kind === 'updateComment');
  const deleting = pending.find((entry) => entry.kind === 'deleteComment');
  const content = changing?.input.content ?? comment.content;
  const mark = useComputed(() => comment.authorId === me.value?.id);
  const stop = () => {
    editing.value = false;
    requestAnimationFrame(() => edit.current?.focus());
  };
  const save = ({ content: text }) => {
    submit('updateComment', { id: comment.id, content: text }, { messageId: comment.messageId, commentId: comment.id });
    stop();
  };
  const remove = async (event) => {
    const list = event.currentTarget.closest('.thread');
    if (await confirm({ title: t('deleteComment.ask'), text: t('deleteMessage.alone'), action: t('delete') })) {
      submit('deleteComment', { id: comment.id }, { messageId: comment.messageId, commentId: comment.id });
      list.querySelector('[data-comment], textarea')?.focus();
    }
  };
  if (deleting?.state === 'sending' || deleting?.state === 'waiting') return null;
  return html`<li class="comment" id="comment-${comment.id}" data-own=${mark.value}>
    <${Avatar} id=${comment.authorId} />
    <div>
      <p class="by"><strong class="author">${nameOf(userOf(comment.authorId))}</strong> <${Time} at=${comment.createdAt} />
        ${comment.updatedAt !== comment.createdAt && html`<span class="edited" title=${t('edited.at', { when: exactly(comment.updatedAt) })}> · ${t('edited')}</span>`}
        ${mayChange(comment.authorId) && !editing.value && html`<span class="actions">
          <button type="button" class="link" ref=${edit} data-edit aria-label=${t('edit.comment')} onClick=${() => { editing.value = true; }}>${t('edit')}</button>
          <button type="button" class="link" data-delete aria-label=${t('delete.comment')} onClick=${remove}>${t('delete')}</button>
        </span>`}</p>
      ${editing.value
    ? html`<${Edit} place=${`comment.${comment.id}`} label=${t('edit.comment')} was=${{ content: comment.content }} onSave=${save} onCancel=${stop} />`
    : html`<p class="content"><${Text} text=${content} /></p>`}
      ${pending.map((entry) => html`<${Status} key=${entry.key} entry=${entry} />`)}
    </div>
  </li>`;
}
