// GraphiQL on this server: operations by HTTP, subscriptions by WebSocket, and one tab for each thing to try. What is in
// the tab Headers goes with the requests, and into a WebSocket's connection_init.

const { GraphiQL, React, ReactDOM, graphqlWs } = window;

const url = new URL('/graphql', location.href);
const subscriptionUrl = new URL(url);
subscriptionUrl.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';

const forbidden = 4403; // what a WebSocket is closed with whose token is not valid

// GraphiQL would make a client of the same kind by itself, but one that tries a token again that was refused.
function fetcher(operation, options) {
  const wsClient = graphqlWs.createClient({
    url: subscriptionUrl.href,
    connectionParams: options?.headers,
    shouldRetry: (problem) => problem instanceof CloseEvent && problem.code !== forbidden,
  });
  return GraphiQL.createFetcher({ url: url.href, wsClient })(operation, options);
}

// What GraphiQL keeps in the browser. By itself it would open a further tab whenever the page is loaded with nothing edited,
// as it looks for a tab with what was edited last; and it would keep the headers, and in them tokens, in its history.
const kept = GraphiQL.createLocalStorage({ namespace: 'tidings' });
const storage = Object.assign(Object.create(kept), {
  getItem(key) {
    const field = { 'graphiql:query': 'query', 'graphiql:variables': 'variables' }[key];
    if (!field) return kept.getItem(key);
    const state = JSON.parse(kept.getItem('graphiql:tabState'));
    return state?.tabs[state.activeTabIndex]?.[field] ?? null;
  },
  setItem(key, value) {
    if (key === 'graphiql:queries' || key === 'graphiql:favorites') {
      value = JSON.stringify(JSON.parse(value), (name, field) => (name === 'headers' ? undefined : field));
    }
    kept.setItem(key, value);
  },
});

// Tabs are named after their operations.
const examples = [
  `# The newest messages, their authors and comments.
# Run it with the button, or Ctrl-Enter.
#
# The book on the left tells what else there is.
# A token goes into Headers, at the bottom:
# {"Authorization": "Bearer ..."}

query LatestMessages {
  messages(first: 10) {
    nodes {
      id
      title
      content
      author {
        username
      }
      createdAt
      comments(first: 10) {
        nodes {
          id
          content
          author {
            username
          }
        }
      }
    }
  }
}
`,
  `# Each message as it is written, by whatever tool.
# Run this, and then CreateMessage in another
# window, or an INSERT in psql.

subscription MessageAdded {
  messageAdded {
    id
    title
    content
    author {
      username
    }
    createdAt
  }
}
`,
  `# Each comment on one message, as it is written;
# without messageId, on any.

subscription CommentAdded {
  commentAdded(messageId: 1) {
    id
    content
    author {
      username
    }
    createdAt
  }
}
`,
  `# Writes a message. Whoever has subscribed hears
# of it. With a token, its user is the author.

mutation CreateMessage {
  createMessage(input: {
    authorId: 1
    title: "Hello"
    content: "Written in GraphiQL"
  }) {
    message {
      id
      title
      author {
        username
      }
      createdAt
    }
  }
}
`,
  `# Whatever happens in the channels of any watched
# table: rows added, updated and deleted.

subscription Events {
  events(channels: ["messages", "comments"]) {
    type
    channel
    data
    at
    cursor
  }
}
`,
];

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  React.createElement(
    GraphiQL,
    {
      fetcher,
      defaultTabs: examples.map((query) => ({ query })),
      defaultQuery: '',
      storage,
      shouldPersistHeaders: false,
      showPersistHeadersSettings: false,
    },
    React.createElement(GraphiQL.Logo, null, React.createElement('a', { className: 'graphiql-logo-link', href: '/' }, 'tidings')),
  ),
);
