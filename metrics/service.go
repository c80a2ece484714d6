package metrics

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tidings/db"
	tidingshttp "tidings/http"
	"tidings/realtime"
)

// Service is what is asked at a scrape. All of it is needed.
type Service struct {
	Hub         *realtime.Hub
	Server      *tidingshttp.Server
	Reader      *db.Reader
	DB          *db.DB
	Log         *db.LogWatch
	Revocations *db.Revocations
}

var (
	ready      = gauge("ready", "1 while /readyz is 200: what is committed is told, for all that can be proved.")
	live       = gauge("live", "1 while the log is being read.")
	heard      = gauge("doorbell_heard", "1 while the doorbell is heard, or switched off.")
	beating    = gauge("beating", "1 while heartbeats are heard, or switched off.")
	stopping   = gauge("stopping", "1 from when it was told to stop.")
	awake      = gauge("reader_awake", "1 while the log is read all the time, and writers need not ring the doorbell.")
	redisRole  = gauge("redis_role", "1 for what this instance does by Redis: leading, following, or alone, where Redis cannot be used; none of it without Redis.", "role")
	turns      = counter("reader_turns", "How often the reader has woken up or fallen asleep.")
	lastRead   = gauge("last_read_timestamp_seconds", "When the log was last read to its end.")
	read       = counter("events_read", "Events read from the log.")
	routed     = counter("events_routed", "Events put into clients' queues as they were published, once for each client.")
	delivered  = counter("events_delivered", "Events and rows written to clients, once for each client.")
	loaded     = counter("rows_loaded", "Rows put into clients' queues for those who asked for a channel's rows.")
	judged     = counter("events_judged", "Events that row security was asked about.")
	caughtUp   = counter("catch_up_events", "Events put into the queues of clients that came back or were too slow, by where they were found.", "source")
	catchUps   = counter("catch_ups", "Clients that came back with a cursor or were too slow, and have been given all that they lacked, by where that was found.", "source")
	queries    = counter("log_queries", "Queries of the log and of tables for what clients lacked.")
	overflows  = counter("queue_overflows", "Times that a client's queue was full.")
	queued     = gauge("queue_events", "Events that wait in clients' queues.")
	queuedSize = gauge("queue_bytes", "Bytes of the events that wait in clients' queues, those that several clients share counted for each.")
	longest    = gauge("queue_largest_bytes", "Bytes in the fullest queue.")
	resets     = counter("resets", "Channels of which a client was told that events are lost to it, by why.", "reason")

	subscribers   = gauge("subscribers", "Clients' places in the stream: connections, and GraphQL's subscriptions.")
	behind        = gauge("subscribers_behind", "Of the subscribers, those that are fed from memory or from the log.")
	waiting       = gauge("subscribers_waiting", "Of those behind, the ones that wait for their turn to read the log.")
	subscriptions = gauge("subscriptions", "Subscriptions by topic; beyond a hundred topics, those to the others are summed up as (others).", "topic")
	recent        = gauge("recent_bytes", "Bytes of the newest events in memory.")

	connections    = gauge("connections", "Connections for events, by transport.", "transport")
	maxConnections = gauge("connections_max", "How many connections for events there may be.")
	opened         = counter("connections_opened", "Connections for events that were opened, by transport.", "transport")
	goodbyes       = counter("goodbyes", "Connections that the service ended, by the code and the reason that were told.", "code", "reason")
	refused        = counter("refused", "What clients were refused, by the code that they were told.", "code")
	users          = gauge("users_connected", "Users who have connections to this instance.")
	revoked        = gauge("revocations", "What is known to be revoked, by what: user, or session.", "of")

	auditLogged  = counter("audit_logged_events", "Events that the log has, between positions a minute apart.")
	auditRead    = counter("audit_read_events", "Events that were read between the same positions.")
	auditMissing = counter("audit_missing_events", "The difference between the two, which is a mistake of the service's.")

	graphSubscriptions = gauge("graphql_subscriptions", "Subscriptions of GraphQL's.")
	graphPlans         = gauge("graphql_plans", "Different ones among GraphQL's subscriptions: each makes its results once for all that are alike.")
	graphExecutions    = counter("graphql_executions", "Results made for GraphQL's subscriptions.")
	graphStatements    = counter("graphql_statements", "Statements by which GraphQL has read the application's tables.")
)

// maxTopics is for how many topics there is a sum of their own.
const maxTopics = 100

// otherTopics is no topic's name: those have no brackets.
const otherTopics = "(others)"

// Collect has the service asked at each scrape. It is called once.
func (m *Metrics) Collect(s Service) {
	ahead := func() time.Duration { return s.Log.Last().Ahead }
	m.sampling.ahead.Store(&ahead)
	m.registry.MustRegister(s)
}

// Describe is prometheus.Collector's.
func (s Service) Describe(descs chan<- *prometheus.Desc) {
	for _, f := range figures {
		descs <- f.desc
	}
}

// Collect is prometheus.Collector's.
func (s Service) Collect(metrics chan<- prometheus.Metric) {
	to := sink(metrics)
	health := s.Server.Status()
	s.reading(to, health)
	s.delivering(to)
	s.connecting(to, health)
	s.database(to)
}

// reading is of the log's reader.
func (s Service) reading(to sink, health realtime.Instance) {
	status := s.Reader.Status()
	to.is(ready, health.Live && health.Listening && health.Beating && !health.Stopping)
	to.is(live, health.Live)
	to.is(heard, health.Listening)
	to.is(beating, health.Beating)
	to.is(stopping, health.Stopping)
	to.is(awake, status.Awake)
	if status.Role != db.RoleNone {
		for _, role := range []db.Role{db.RoleLeading, db.RoleFollowing, db.RoleAlone} {
			to.is(redisRole, status.Role == role, string(role))
		}
	}
	to.put(turns, float64(status.Turns))
	to.when(lastRead, status.LastRead)
	to.put(read, float64(status.Events))
	to.put(auditLogged, float64(status.Audited.Logged))
	to.put(auditRead, float64(status.Audited.Read))
	to.put(auditMissing, float64(status.Audited.Missing))
}

// delivering is of the hub.
func (s Service) delivering(to sink) {
	stats := s.Hub.Stats()
	to.put(routed, float64(stats.Routed))
	to.put(delivered, float64(stats.Delivered))
	to.put(loaded, float64(stats.Loaded))
	to.put(judged, float64(stats.Judged))
	to.put(caughtUp, float64(stats.ResumedFromMemory), "memory")
	to.put(caughtUp, float64(stats.ResumedFromRelay), "redis")
	to.put(caughtUp, float64(stats.ResumedFromLog), "log")
	to.put(catchUps, float64(stats.ReturnsFromMemory), "memory")
	to.put(catchUps, float64(stats.ReturnsFromRelay), "redis")
	to.put(catchUps, float64(stats.ReturnsFromLog), "log")
	to.put(queries, float64(stats.Reads))
	to.put(overflows, float64(stats.Overflows))
	for _, reason := range []realtime.Reset{realtime.ResetMalformed, realtime.ResetForeign, realtime.ResetFuture, realtime.ResetExpired} {
		to.put(resets, float64(stats.Resets[reason]), string(reason))
	}
	events, bytes, largest := s.Hub.Queued()
	to.put(queued, float64(events))
	to.put(queuedSize, float64(bytes))
	to.put(longest, float64(largest))
	to.put(subscribers, float64(stats.Subscribers))
	to.put(behind, float64(stats.Behind))
	to.put(waiting, float64(stats.Waiting))
	to.put(recent, float64(stats.Recent))

	topics := slices.SortedFunc(maps.Keys(stats.Subscriptions), func(a, b string) int {
		return cmp.Or(stats.Subscriptions[b]-stats.Subscriptions[a], cmp.Compare(a, b))
	})
	others := 0
	for i, topic := range topics {
		if i < maxTopics {
			to.put(subscriptions, float64(stats.Subscriptions[topic]), topic)
		} else {
			others += stats.Subscriptions[topic]
		}
	}
	if others > 0 {
		to.put(subscriptions, float64(others), otherTopics)
	}
}

// connecting is of the server.
func (s Service) connecting(to sink, health realtime.Instance) {
	stats := s.Server.Stats()
	for _, t := range []tidingshttp.Transport{
		tidingshttp.TransportWS, tidingshttp.TransportEnvelope, tidingshttp.TransportSSE, tidingshttp.TransportGraphWS, tidingshttp.TransportGraphSSE,
	} {
		to.put(connections, float64(stats.Open[t]), string(t))
		to.put(opened, float64(stats.Opened[t]), string(t))
	}
	for g, n := range stats.Goodbyes {
		to.put(goodbyes, float64(n), strconv.Itoa(g.Code), g.Reason)
	}
	ofUsers, ofSessions := s.Revocations.Count()
	to.put(revoked, float64(ofUsers), "user")
	to.put(revoked, float64(ofSessions), "session")
	to.put(maxConnections, float64(health.MaxConnections))
	to.put(users, float64(health.Users))
	for _, code := range []string{"too_many_connections", "too_many_connections_from_address", "rate_limited", "unauthenticated", "forbidden"} {
		if _, there := health.Refused[code]; !there {
			to.put(refused, 0, code) // so that the first one is an increase
		}
	}
	for code, n := range health.Refused {
		to.put(refused, float64(n), code)
	}
	to.put(graphSubscriptions, float64(health.Subscriptions))
	to.put(graphPlans, float64(health.Plans))
	to.put(graphExecutions, float64(health.Executions))
	to.put(graphStatements, float64(health.Statements))
}
