package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// graphQLQuery is what the clients of /graphql subscribe to: what is told on /ws, and the author's name.
const graphQLQuery = `subscription Added($since: String) { messageAdded(since: $since) { id title content author { username } createdAt } }`

// graphQLCounts are how many subscribers there are.
var graphQLCounts = []int{1000, 5000}

// graphql compares subscriptions on /graphql with those on /ws, of the same service.
func (b *bench) graphql(ctx context.Context) (section, error) {
	counts := graphQLCounts
	if b.quick {
		counts = counts[:1]
	}
	s := section{
		title: "GraphQL subscriptions",
		method: fmt.Sprintf(`The same number of clients on `+"`/ws`"+` and on `+"`/graphql`"+` (graphql-transport-ws) of one service. Those on `+"`/ws`"+` follow a table of the shape of
`+"`messages`"+`, and those on `+"`/graphql`"+` all subscribe to

    %s

of `+"`messages`"+` itself. Each has an id of its own for its subscription, as clients do, so no two are sent the same bytes. One writer writes to the one table and then to the other, so many rows a second that there are no more than %s deliveries a second.
The author is read from the database for each row. *Executions* is how often the selection was executed for a row, by the service's own count. CPU is that of the service, per million deliveries, with
all that it does besides.`, graphQLQuery, asCount(growthLimit)),
	}
	t := resultTable{head: []string{"Subscribers", "", "/graphql", "lowest – highest", "/ws", "Ratio", "lowest – highest"}}
	for _, n := range counts {
		rounds, executions, err := b.graphqlOf(ctx, n)
		if err != nil {
			return s, fmt.Errorf("%s: %w", plural(n, "subscriber"), err)
		}
		row := func(name string, of func(outcome) float64, as func(float64) string) {
			var values [2][]float64
			for path := range values {
				for _, o := range rounds[path] {
					values[path] = append(values[path], of(o))
				}
			}
			t.add(asCount(float64(n)), name, spreadOf(values[0]).cells(as), as(spreadOf(values[1]).median), ratioOf(values[0], values[1]).cells(asRatio))
		}
		row("from commit, p50", func(o outcome) float64 { return o.quantile(0.5) }, asMilliseconds)
		row("from commit, p99", func(o outcome) float64 { return o.quantile(0.99) }, asMilliseconds)
		if b.measured {
			row("CPU", func(o outcome) float64 { return perMillion(o.cost.process, o.deliveries()) }, asSeconds)
		}
		t.add(asCount(float64(n)), "executions a row", fmt.Sprintf("%.2f", executions), "", "", "", "")
	}
	queries, err := b.graphqlQueries(ctx)
	if err != nil {
		return s, fmt.Errorf("queries: %w", err)
	}
	s.tables = []resultTable{t, queries}
	s.remarks = fmt.Sprintf(`The second table is of the query

    %s

with so many messages in its page, each with three comments by different users; *statements* is how many the service has sent for it. The time is that of one query after another over HTTP, the median of %d.`,
		fmt.Sprintf(graphQLLoad, "N"), graphQLQueries)
	return s, nil
}

// graphQLLoad is a query for messages with authors and comments.
const graphQLLoad = `{ messages(first: %s) { nodes { title author { username } comments(first: 5) { nodes { content author { username } } } } } }`

// graphQLQueries is how often a query is sent.
const graphQLQueries = 200

// graphqlQueries measures queries for pages of different sizes.
func (b *bench) graphqlQueries(ctx context.Context) (t resultTable, err error) {
	const begin = `truncate public.messages, public.users restart identity cascade;
		insert into public.users (username, display_name) select 'user' || i, 'User' from generate_series(1, 100) as i;
		insert into public.messages (author_id, title, content) select i, 'A message', 'text' from generate_series(1, 100) as i;
		insert into public.comments (message_id, author_id, content) select m, 1 + (m + c * 7) % 100, 'A comment' from generate_series(1, 100) as m, generate_series(1, 3) as c`
	if _, err := b.postgres.db.Pool.Exec(ctx, begin); err != nil {
		return t, fmt.Errorf("fill the tables: %w", err)
	}
	service, err := b.startService(ctx)
	if err != nil {
		return t, err
	}
	defer b.stopService(service)
	t.head = []string{"Messages", "Statements", "Time, p50"}
	for _, n := range []int{1, 10, 100} {
		path := "/graphql?query=" + url.QueryEscape(fmt.Sprintf(graphQLLoad, strconv.Itoa(n)))
		var took []float64
		before, err := service.graphQL(ctx)
		if err != nil {
			return t, err
		}
		for range graphQLQueries {
			var answer struct {
				Data struct {
					Messages struct{ Nodes []struct{ Title string } }
				}
				Errors []struct{ Message string }
			}
			begun := time.Now()
			if err := service.get(ctx, path, &answer); err != nil {
				return t, err
			}
			took = append(took, seconds(time.Since(begun)))
			if len(answer.Errors) > 0 || len(answer.Data.Messages.Nodes) != n {
				return t, fmt.Errorf("a page of %d has %d, and the errors %v", n, len(answer.Data.Messages.Nodes), answer.Errors)
			}
		}
		after, err := service.graphQL(ctx)
		if err != nil {
			return t, err
		}
		t.add(asCount(float64(n)), asCount(float64(after.Statements-before.Statements)/graphQLQueries), asMilliseconds(spreadOf(took).median))
	}
	return t, nil
}

// graphqlOf returns the rounds of /graphql and of /ws, and how often a row was executed.
func (b *bench) graphqlOf(ctx context.Context, n int) (rounds [2][]outcome, executions float64, err error) {
	if err := b.postgres.clear(ctx); err != nil {
		return rounds, 0, err
	}
	const begin = `truncate public.messages, public.users restart identity cascade; insert into public.users (username, display_name) values ('ada', 'Ada')`
	if _, err := b.postgres.db.Pool.Exec(ctx, begin); err != nil {
		return rounds, 0, fmt.Errorf("empty the tables: %w", err)
	}
	service, err := b.startService(ctx)
	if err != nil {
		return rounds, 0, err
	}
	defer b.stopService(service)
	conn, err := b.postgres.db.Pool.Acquire(ctx)
	if err != nil {
		return rounds, 0, err
	}
	defer conn.Release()
	since, err := service.liveCursor(ctx)
	if err != nil {
		return rounds, 0, err
	}
	inserting := func(t table) func(ctx context.Context, id int64) error {
		insert := t.insertWithID()
		return func(ctx context.Context, id int64) error {
			_, err := conn.Exec(ctx, insert, id)
			return err
		}
	}
	paths := []*path{{name: "/graphql", publish: inserting("messages")}, {name: "/ws", publish: inserting(watched)}}
	paths[0].crowd, err = gather(ctx, n, paths[0].arrived, func(ctx context.Context, client int) (*websocket.Conn, error) {
		return service.subscribeGraphQL(ctx, fmt.Sprintf("7f3c9a52-4e0b-4d8e-9a1c-%012x", client), since)
	})
	if err != nil {
		return rounds, 0, err
	}
	defer paths[0].crowd.close()
	if paths[1].crowd, err = connect(ctx, service.channel(topic), n, paths[1].arrived); err != nil {
		return rounds, 0, err
	}
	defer paths[1].crowd.close()
	for _, p := range paths {
		p.next, p.every = latencyFirstID, growthEvery(n)
		if b.measured {
			p.cost = func() (cost, error) { return b.costOf(service) }
		}
		if _, err := b.drive(ctx, p, 10); err != nil { // what does not count: the first rows find nothing prepared
			return rounds, 0, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	before, err := service.graphQL(ctx)
	if err != nil {
		return rounds, 0, err
	}
	rows := max(1, int(time.Duration(growthSeconds*b.seconds)*time.Second/growthEvery(n)))
	err = alternate(b.rounds, []int{0, 1}, func(round, i int) error {
		o, err := b.drive(ctx, paths[i], rows)
		if err != nil {
			return fmt.Errorf("%s: %w", paths[i].name, err)
		}
		b.say("  round %d, %s, %s: p50 %s, p99 %s, %s of CPU per million deliveries", round+1, plural(n, "subscriber"), paths[i].name,
			asMilliseconds(o.quantile(0.5)), asMilliseconds(o.quantile(0.99)), asSeconds(perMillion(o.cost.process, o.deliveries())))
		rounds[i] = append(rounds[i], o)
		return nil
	})
	if err != nil {
		return rounds, 0, err
	}
	after, err := service.graphQL(ctx)
	return rounds, float64(after.Executions-before.Executions) / float64(rows*b.rounds), err
}

// subscribeGraphQL connects a client that subscribes behind the cursor: whatever is written from there on is told.
func (s *service) subscribeGraphQL(ctx context.Context, id, since string) (*websocket.Conn, error) {
	dialer := dialer
	dialer.Subprotocols = []string{"graphql-transport-ws"}
	ws, err := dial(ctx, dialer, "ws://"+s.address+"/graphql", nil)
	if err != nil {
		return nil, err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"connection_init"}`)); err != nil {
		return ws, err
	}
	if err := expectFrame(ws, []byte(`{"type":"connection_ack"`)); err != nil {
		return ws, err
	}
	return ws, ws.WriteJSON(map[string]any{"type": "subscribe", "id": id, "payload": map[string]any{
		"query": graphQLQuery, "variables": map[string]string{"since": since},
	}})
}

// liveCursor is the position of now.
func (s *service) liveCursor(ctx context.Context) (string, error) {
	var answer struct {
		Data struct{ LiveCursor string }
	}
	if err := s.get(ctx, "/graphql?query=%7BliveCursor%7D", &answer); err != nil {
		return "", err
	}
	return answer.Data.LiveCursor, nil
}

// graphQLCount is the service's own: how often it has executed a subscription's selection, and how many statements it has sent.
type graphQLCount struct {
	Executions, Statements uint64
}

func (s *service) graphQL(ctx context.Context) (graphQLCount, error) {
	var ready struct{ GraphQL graphQLCount }
	err := s.get(ctx, "/readyz", &ready)
	return ready.GraphQL, err
}

func (s *service) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+path, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %w", path, err)
	}
	return nil
}
