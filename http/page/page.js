// The page: what the server put into it, and then every event from the cursor that belongs to it.

const { latest, topics } = JSON.parse(document.getElementById('data').textContent);
const list = document.getElementById('messages');
const state = document.getElementById('state');
const users = new Map();
const shown = new Map(); // message id -> its element
const maxShown = 200;

const say = (name) => { state.dataset.state = name; state.textContent = name; };
const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const time = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });

// Names are looked up once for all that ask at the same moment.
let asked = new Set();
function name(element, id) {
  element.dataset.user = id;
  const user = users.get(id);
  element.textContent = user ? user.display_name : `user ${id}`;
  if (user || id == null) return;
  if (asked.size === 0) queueMicrotask(lookUp);
  asked.add(id);
}
async function lookUp() {
  const ids = [...asked].slice(0, 100);
  asked = new Set();
  const response = await fetch('/page/users?' + ids.map((id) => `id=${id}`).join('&'));
  if (!response.ok) return;
  for (const user of await response.json()) {
    users.set(user.id, user);
    for (const element of document.querySelectorAll(`[data-user="${user.id}"]`)) element.textContent = user.display_name;
  }
}

function showMessage(row, fresh) {
  let item = shown.get(row.id);
  if (!item) {
    item = clone('message');
    shown.set(row.id, item);
    list.prepend(item);
    if (shown.size > maxShown) {
      const [oldest, element] = shown.entries().next().value;
      element.remove();
      shown.delete(oldest);
    }
  }
  item.classList.toggle('new', fresh);
  item.querySelector('h2').textContent = row.title;
  item.querySelector('.content').textContent = row.content;
  name(item.querySelector('.by .author'), row.author_id);
  const when = item.querySelector('time');
  when.dateTime = row.created_at;
  when.textContent = time.format(new Date(row.created_at));
  item.querySelector('.edited').hidden = row.updated_at === row.created_at;
}

function showComment(row) {
  document.getElementById(`comment-${row.id}`)?.remove();
  const item = shown.get(row.message_id);
  if (!item) return; // of a message further back
  const comment = clone('comment');
  comment.id = `comment-${row.id}`;
  name(comment.querySelector('.author'), row.author_id);
  comment.querySelector('.content').textContent = row.content;
  const comments = item.querySelector('.comments');
  const next = [...comments.children].find((other) => Number(other.id.slice('comment-'.length)) > row.id);
  comments.insertBefore(comment, next ?? null);
}

const handlers = {
  message_added: (row) => showMessage(row, true),
  message_updated: (row) => { if (shown.has(row.id)) showMessage(row, true); },
  message_deleted: (row) => { shown.get(row.id)?.remove(); shown.delete(row.id); },
  messages_truncated: () => { list.replaceChildren(); shown.clear(); },
  comment_added: showComment,
  comment_updated: showComment,
  comment_deleted: (row) => document.getElementById(`comment-${row.id}`)?.remove(),
  comments_truncated: () => { for (const c of document.querySelectorAll('.comments')) c.replaceChildren(); },
};

// Where the application's tables are not, the events of what is watched are shown as they are.
function showEvent(event) {
  document.getElementById('empty').hidden = true;
  const item = document.createElement('li');
  const article = document.createElement('article');
  const title = document.createElement('h2');
  title.textContent = `${event.type} · ${event.channel}`;
  const body = document.createElement('pre');
  body.textContent = JSON.stringify(event.data, null, 2);
  article.append(title, body);
  item.append(article);
  item.classList.add('new');
  list.prepend(item);
  while (list.childElementCount > maxShown) list.lastElementChild.remove();
}

let cursor = latest?.cursor;
let attempts = 0;

function connect() {
  const channels = latest ? ['messages', 'comments'] : topics;
  if (channels.length === 0) return;
  const url = new URL('/ws', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  for (const channel of channels) url.searchParams.append('channel', channel);
  if (cursor) url.searchParams.set('since', cursor);
  const socket = new WebSocket(url);
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === 'reset') { location.reload(); return; }
    if (message.cursor) cursor = message.cursor;
    if (message.type === 'subscribed') { attempts = 0; say('live'); return; }
    if (message.type === 'error') { console.error(message.message); return; }
    if (latest) handlers[message.type]?.(message.data);
    else if (message.id) showEvent(message);
  };
  socket.onclose = () => {
    say('reconnecting');
    attempts += 1;
    setTimeout(connect, Math.min(200 * 2 ** attempts, 10_000) * (0.5 + Math.random() / 2));
  };
}

if (latest) {
  for (const user of latest.users) users.set(user.id, user);
  for (const row of latest.messages) showMessage(row, false);
  for (const row of latest.comments) showComment(row);
} else {
  const empty = document.getElementById('empty');
  empty.hidden = false;
  empty.textContent = topics.length
    ? `Following ${topics.join(', ')}: events appear here.`
    : "Nothing public is watched yet: select tidings.watch('your_table', read => 'public'), then load this page again.";
}
connect();
