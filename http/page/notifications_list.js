// The notifications, and where they lead.

import { html, useSignal, useSignalEffect } from './lib/ui.js';
import { announce } from './announce.js';
import { Avatar, nameOf } from './avatar.js';
import { errorText, t } from './i18n.js';
import { goTo } from './go.js';
import { arrived, loadMoreNotifications, markAllRead, markRead, moreNotifications, notifications, unread } from './notifications.js';
import { userOf } from './people.js';
import { Time } from './time.js';

const notificationText = (one) => t(`notification.${one.kind}`, { name: nameOf(userOf(one.actorId)), title: one.title ?? t('notification.gone') });

function Notification({ one, onGo }) {
  const open = () => {
    markRead(one.id);
    onGo();
    if (one.messageId) goTo(one.messageId, one.commentId);
  };
  return html`<li class="notification" data-notification=${one.id} data-unread=${one.readAt === null}>
    <button type="button" onClick=${open}>
      <${Avatar} id=${one.actorId} />
      <span class="what">${one.readAt === null && html`<span class="unseen">${t('unread')}: </span>`}${notificationText(one)}
        ${one.content && html`<span class="quote">${one.content}</span>`}
        <span class="hint"><${Time} at=${one.createdAt} /></span></span>
    </button>
  </li>`;
}

export function NotificationsList({ onGo }) {
  const problem = useSignal(null);
  const attempt = async (work) => {
    problem.value = null;
    await work().catch((error) => { problem.value = error; });
  };
  const list = notifications.value ?? [];
  return html`<header class="panel-head"><h2 class="small" id="notifications-title">${t('notifications')}</h2>
      <button type="button" class="link" data-read-all disabled=${unread.value === 0} onClick=${() => attempt(markAllRead)}>${t('notifications.readAll')}</button></header>
    ${problem.value && html`<p class="problem" role="alert">${errorText(problem.value)}</p>`}
    ${list.length === 0 && html`<p class="hint">${t('notifications.none')}</p>`}
    <ul class="notifications">${list.map((one) => html`<${Notification} key=${one.id} one=${one} onGo=${onGo} />`)}</ul>
    ${moreNotifications.value.more && html`<button type="button" class="link" onClick=${() => attempt(loadMoreNotifications)}>${t('notifications.more')}</button>`}`;
}

/** Tells of each that comes. */
export function NotificationNews() {
  useSignalEffect(() => {
    const one = arrived.value;
    if (!one) return;
    arrived.value = null;
    announce(t('notification.new', { text: notificationText(one) }));
  });
  return null;
}
