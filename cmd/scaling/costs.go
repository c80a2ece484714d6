package main

import "tidings/cmd/scaling/model"

// costs are the measured ones, and from which section they follow.
func costs() table {
	c := model.Measured
	t := table{name: "costs", head: []string{"", "costs", "from"}}
	micro := func(s float64) string { return digits(s*1e6) + " µs of CPU" }
	perSecond := func(s float64) string { return digits(s*1e3) + " ms of CPU a second" }
	const (
		bench   = "[benchmarks.md](benchmarks.md), "
		where   = "[performance.md](performance.md), "
		byHand  = "measured for this page: "
		fleets  = bench + "Many instances"
		setting = "[configuration.md](configuration.md)"
	)
	t.add("**an instance**: hearing of what is new and reading it, however much it is", micro(c.Wake), bench+"How cost grows with subscribers: one subscriber")
	t.add("each event in that, whoever gets it", micro(c.Event), where+"A writer: the service beside it")
	t.add("each write to a socket, with 1,000 connections, and with 10,000", digits(c.WriteFew*1e6)+" to "+micro(c.WriteMany), bench+"How cost grows with subscribers")
	t.add("each event more in the same write", micro(c.Delivery), bench+"Full speed")
	t.add("a delivery on `/graphql` instead of `/ws`", digits(c.GraphQL)+" times that", bench+"GraphQL subscriptions")
	t.add("a connection on which nothing happens", micro(c.Rest)+" a second", bench+"Connections at rest")
	t.add("memory of a connection; of an instance with nobody connected", size(c.ClientBytes)+"; "+size(c.BaseBytes), bench+"How cost grows with subscribers")
	t.add("a client that comes back with all the others", micro(c.Accept)+", "+size(c.StormBytes)+" more for the moment", bench+"Everybody comes back at once")
	t.add("a client that does not read, until it is sent away", "up to "+size(c.QueueBytes), setting+", `--queue-bytes`")
	t.add("what is remembered of the newest events", "up to "+size(c.RecentBytes)+", twice that before it is collected", setting+", `--recent-bytes`")
	t.add("**PostgreSQL**: writing a row of a watched table, in a transaction of its own", micro(c.Row), where+"A writer: the service beside it")
	t.add("more, for each of the first "+count(c.AwakeAt)+" rows of a second, as what sleeps has to be woken", micro(c.Quiet), fleets)
	t.add("a read of the log by an instance, and each event in it", digits(c.Read*1e6)+" and "+micro(c.ReadEvent), fleets+", and "+where+"A writer: the service beside it")
	t.add("an instance that reads, besides; one that follows by Redis", digits(c.Instance*1e3)+"; "+perSecond(c.Follower), fleets+": nobody writes")
	t.add("row level security: what a read has brought; each set of rights; each row and set", digits(c.Judge*1e6)+"; "+digits(c.JudgeSet*1e6)+"; "+micro(c.JudgeRow), bench+"Row security")
	t.add("a user who comes or goes; one who is there, when all of an instance are told anew", digits(c.Presence*1e6)+"; "+micro(c.PresenceCheck), bench+"Presence; "+byHand+"one call with 100,000 users")
	t.add("an event in the log, with its indexes", size(c.LogBytes)+" of disk", bench+"Writing on and on")
	t.add("**Redis**: taking what a read has brought; giving it to an instance", digits(c.Call*1e6)+"; "+micro(c.Entry), fleets)
	t.add("an instance that follows, besides", perSecond(c.RedisIdleOf), fleets+": nobody writes")
	t.add("a byte in or out", digits(c.RedisByte*1e9)+" ns of CPU", byHand+"`redis-benchmark`, GET of 1 and of 40,000 bytes")
	t.add("what an event takes in it, beside its own bytes", size(c.RecordBytes), fleets)
	return t
}
