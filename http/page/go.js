// To a message, wherever it is.

import { signal } from './lib/ui.js';
import { t } from './i18n.js';
import { loadAround, loadEarlier } from './load.js';
import { peekMessage } from './messages.js';
import { hasEarlier } from './comments.js';

/** What is to be said of the way there. */
export const notice = signal(null);

const drawn = () => new Promise((resolve) => { setTimeout(resolve, 30); });

export async function goTo(messageId, commentId = null) {
  notice.value = null;
  try {
    if (!(await loadAround(messageId))) {
      notice.value = t('notThere');
      return;
    }
    const message = peekMessage(messageId);
    if (commentId && message && !message.comments.some(({ id }) => id === commentId) && hasEarlier(message)) await loadEarlier(messageId);
  } catch (error) {
    notice.value = error;
    return;
  }
  await drawn();
  const article = document.getElementById(`message-${messageId}`);
  if (commentId && !document.getElementById(`comment-${commentId}`)) {
    article?.querySelector('[data-earlier]')?.click();
    await drawn();
  }
  const target = document.getElementById(`comment-${commentId}`) ?? article;
  target?.scrollIntoView({ block: 'center' });
  article?.focus({ preventScroll: true });
  if (target) {
    target.dataset.pointed = '';
    setTimeout(() => { delete target.dataset.pointed; }, 2500);
  }
}

/** The message that the address names. */
export const named = () => /^#message-(\d+)$/.exec(location.hash)?.[1];
