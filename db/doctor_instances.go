package db

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// The services that run, and what they share.
var instanceChecks = []check{
	{name: "instances", needs: needsSchema, look: lookAtInstances},
	{name: "instance-health", well: "Each of them reads the log, and hears its heartbeat.", needs: needsSchema, look: asked(instanceHealthQuery)},
	{name: "instance-versions", well: "All are of one version.", needs: needsSchema, look: asked(instanceVersionsQuery)},
	{name: "clock", look: lookAtClock},
	{name: "instance-clocks", well: "Their clocks are the database's.", needs: needsSchema, look: asked(instanceClocksQuery)},
	{name: "connections", look: lookAtConnections},
	{name: "revocations", well: "Few tokens are revoked.", needs: needsSchema, look: asked(revocationsQuery, func(e *examination) any { return cmp.Or(e.Limits.Revocations, 100000) })},
}

// An instance is where it listens, on which machine.
const instanceName = `coalesce(i.status ->> 'host', '?') || coalesce(' ' || (i.status ->> 'address'), '')`

const silentQuery = `
select 'warning', format('The service on %s has been silent for %s: it was killed, or cannot reach the database.', ` + instanceName + `, date_trunc('second', clock_timestamp() - i.told_at)),
       'Look at its log. A minute after it was killed it is forgotten; or at once:', array[format('select tidings.leave(%L)', i.name)]
  from tidings.instances i where i.told_at < clock_timestamp() - interval '10 seconds'`

func lookAtInstances(ctx context.Context, e *examination) error {
	var running int
	if err := e.tx.QueryRow(ctx, `select count(*) from tidings.running`).Scan(&running); err != nil {
		return err
	}
	switch running {
	case 0:
		e.add(SeverityNote, "No service runs: nothing is told, and nobody empties the log.", "Start one: tidings serve")
	case 1:
		e.well = "One service runs."
	default:
		e.well = fmt.Sprintf("%d services run.", running)
	}
	return asked(silentQuery)(ctx, e)
}

const instanceHealthQuery = `
select case when (i.status ->> 'live')::boolean and (i.status ->> 'beating')::boolean then 'warning' else 'problem' end,
       format('The service on %s %s.', ` + instanceName + `, concat_ws(', ',
              case when not (i.status ->> 'live')::boolean then 'does not read the log' end,
              case when not (i.status ->> 'listening')::boolean then 'does not hear the doorbell, and polls' end,
              case when not (i.status ->> 'beating')::boolean then 'does not hear the heartbeat' end,
              case when (i.status ->> 'lag_seconds')::float8 > 5 then format('is %s seconds behind', round((i.status ->> 'lag_seconds')::numeric, 1)) end)),
       'Look at its log, and at the other findings.', null::text[]
  from tidings.instances i
 where i.told_at > clock_timestamp() - interval '10 seconds' and coalesce((i.status ->> 'stopping')::boolean, false) is false
   and (not (i.status ->> 'live')::boolean or not (i.status ->> 'listening')::boolean or not (i.status ->> 'beating')::boolean or (i.status ->> 'lag_seconds')::float8 > 5)`

const instanceVersionsQuery = `
with i as (select * from tidings.instances i where i.told_at > clock_timestamp() - interval '10 seconds')
select 'problem', format('The service on %s knows version %s of schema tidings, and has to know %s: it is about to stop.', ` + instanceName + `, i.status ->> 'schema', tidings.compatible_from()),
       'Start a newer one.', null::text[]
  from i where (i.status ->> 'schema')::integer < tidings.compatible_from()
union all
select 'note', format('Services of different versions run side by side: %s.', string_agg(distinct coalesce(i.status ->> 'version', '?'), ', ')),
       'During an upgrade, that is meant; after it, upgrade the rest.', null
  from i having count(distinct i.status ->> 'version') > 1`

// lookAtClock compares the database's clock with this machine's.
func lookAtClock(ctx context.Context, e *examination) error {
	now := time.Now
	if e.Now != nil {
		now = e.Now
	}
	var best, off time.Duration = time.Hour, 0
	for range 3 {
		var theirs time.Time
		before := now()
		if err := e.tx.QueryRow(ctx, `select clock_timestamp()`).Scan(&theirs); err != nil {
			return err
		}
		if took := now().Sub(before); took < best {
			best, off = took, theirs.Sub(before.Add(took/2))
		}
	}
	e.well = "The database's clock and this machine's are the same, to within a second."
	level := SeverityNote
	switch {
	case off.Abs() <= time.Second+best:
		return nil
	case off.Abs() > 10*time.Second:
		level = SeverityWarning
	}
	which := "ahead of"
	if off < 0 {
		which = "behind"
	}
	e.add(level, fmt.Sprintf("The database's clock is %s %s this machine's: tokens are taken for too long, or not at all.", off.Abs().Round(100*time.Millisecond), which),
		"Have both machines' clocks set by NTP (chronyc tracking, timedatectl).")
	return nil
}

const instanceClocksQuery = `
select case when abs(o.ahead) > 10 then 'warning' else 'note' end,
       format('The clock of the service on %s is %s s %s the database''s: tokens are taken for too long there, or not at all.', o.name, abs(round(o.ahead::numeric, 1)),
              case when o.ahead > 0 then 'ahead of' else 'behind' end),
       'Have that machine''s clock set by NTP (chronyc tracking, timedatectl).', null::text[]
  from (select ` + instanceName + ` as name, extract(epoch from (i.status ->> 'at')::timestamptz - i.told_at) as ahead
          from tidings.instances i where i.told_at > clock_timestamp() - interval '10 seconds') as o
 where o.ahead not between -2 and 1`

const (
	connectionsQuery = `
select count(*), count(*) filter (where a.usename = current_user), count(*) filter (where a.datname = current_database()),
       current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
           - coalesce(current_setting('reserved_connections', true)::integer, 0),
       (select r.rolconnlimit from pg_roles r where r.rolname = current_user and not r.rolsuper),
       (select d.datconnlimit from pg_database d where d.datname = current_database())
  from pg_stat_activity a where (a.backend_type is null and a.datid is not null or a.backend_type = 'client backend') and a.application_name <> '` + doctorName + `'`
)

// lookAtConnections says whether another service would find as many as it needs.
func lookAtConnections(ctx context.Context, e *examination) error {
	var used, ofRole, ofDatabase, most int
	var roleLimit, databaseLimit *int
	if err := e.tx.QueryRow(ctx, connectionsQuery).Scan(&used, &ofRole, &ofDatabase, &most, &roleLimit, &databaseLimit); err != nil {
		return err
	}
	need := ownConnections + int(e.DB.Pool.Config().MaxConns)
	e.well = fmt.Sprintf("%d of %d connections are used; a service needs %d.", used, most, need)
	var role, database, raise string
	if err := e.tx.QueryRow(ctx, `select format('alter role %I connection limit -1', current_user), format('alter database %I connection limit -1', current_database()),
		format('alter system set max_connections = %s', (current_setting('max_connections')::integer + 100))`).Scan(&role, &database, &raise); err != nil {
		return err
	}
	if most-used < need {
		e.add(SeverityWarning, fmt.Sprintf("%d of %d connections are used, and one more service needs %d.", used, most, need),
			"Have your applications take fewer, or max_connections be more, which needs a restart of PostgreSQL:", raise)
	}
	if roleLimit != nil && *roleLimit >= 0 && *roleLimit-ofRole < need {
		e.add(SeverityWarning, fmt.Sprintf("The role may have %d connections, of which %d are used, and one more service needs %d.", *roleLimit, ofRole, need), "Let it have more:", role)
	}
	if databaseLimit != nil && *databaseLimit >= 0 && *databaseLimit-ofDatabase < need {
		e.add(SeverityWarning, fmt.Sprintf("The database may have %d connections, of which %d are used, and one more service needs %d.", *databaseLimit, ofDatabase, need),
			"Let it have more:", database)
	}
	return nil
}

// ownConnections are those of a service beside its pool: the reader's, the listener's and presence's.
const ownConnections = 3

const revocationsQuery = `
select 'note', format('%s revocations are in the memory of each service.', to_char(r.n, 'FM999,999,999,999')),
       'Forget those of sessions that have ended long ago; a user''s are kept until you delete them, when no token from before is valid any more:',
       array['delete from tidings.revocations where not_before < now() - interval ''31 days''']
  from (select count(*) as n from tidings.revocations) as r where r.n > $1::bigint`
