import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from 'tidings';
import { useCollection, useConnection } from './use-tidings.js';

const client = connect({ url: new URLSearchParams(location.search).get('service') ?? 'http://127.0.0.1:8080' });

function App() {
  const state = useConnection(client);
  const [open, setOpen] = useState(null);
  const messages = useCollection(client, 'messages');
  return (
    <main>
      <p>
        {state}: {messages.length} messages
      </p>
      <ul>
        {messages.map((message) => (
          <li key={message.id}>
            <button onClick={() => setOpen(message.id === open ? null : message.id)}>{message.title}</button>
            {message.id === open && <Comments message={message.id} />}
          </li>
        ))}
      </ul>
    </main>
  );
}

function Comments({ message }) {
  const comments = useCollection(client, `comments:${message}`);
  return (
    <ol>
      {comments.map((comment) => (
        <li key={comment.id}>{comment.content}</li>
      ))}
    </ol>
  );
}

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
