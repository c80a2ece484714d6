package db

import (
	"context"
	"errors"
	"fmt"
)

// What is installed, and who may use it.
var schemaChecks = []check{
	{name: "schema", look: lookAtSchema},
	{name: "application-tables", look: lookAtChannel},
	{name: "serving-rights", well: "The role may do what a service does.", look: asked(servingRightsQuery)},
	{name: "migrating-rights", well: "The role may install and upgrade.", look: asked(migratingRightsQuery)},
	{name: "schema-owner", well: "The trigger functions run with the rights of a role that may be trusted with the tables.", needs: needsSchema, look: asked(schemaOwnerQuery)},
	{name: "origin", well: "The log is this database's own.", needs: needsSchema, look: asked(originQuery)},
	{name: "event-triggers", well: "What a superuser has installed to hear of new partitions and policies works, or is not there.", needs: needsSchema, look: asked(eventTriggersQuery)},
}

func lookAtSchema(ctx context.Context, e *examination) error {
	s := e.live
	e.well = fmt.Sprintf("Schema tidings is installed, of version %d, which is this program's.", s.Version)
	switch {
	case s.Latest == 0 || e.hidden && s.Version == 0:
		e.well = "Schema tidings is installed, and the role may not see of which version."
	case s.Dirty:
		e.cutOff(e.Live, s)
	case s.Version == 0:
		e.add(SeverityProblem, "Schema tidings is not installed: no table can be live.", "Start tidings serve, which installs it, or say: tidings migrate up --only live")
	case s.Version < s.Latest:
		e.add(SeverityProblem, fmt.Sprintf("Schema tidings is of version %d, and this program needs %d.", s.Version, s.Latest),
			"Start tidings serve, which brings it up to date, or say: tidings migrate up --only live")
	case s.Version > s.Latest:
		err := checkCompatible(ctx, e.tx, s.Latest)
		var tooOld *UnusableError
		if err != nil && !errors.As(err, &tooOld) {
			return err
		}
		if err != nil {
			e.add(SeverityProblem, fmt.Sprintf("Schema tidings is of version %d, which this program, of %d, is too old to serve.", s.Version, s.Latest),
				"Run a newer version of tidings.")
			break
		}
		e.add(SeverityNote, fmt.Sprintf("Schema tidings is of version %d; this program knows %d, and can serve it, but does not look further.", s.Version, s.Latest),
			"Look with the newer program.")
	}
	return nil
}

func lookAtChannel(ctx context.Context, e *examination) error {
	if e.hidden {
		e.well = "The role may not see whether the application's tables are installed."
		return nil
	}
	s, err := migrationStatus(ctx, e.tx, e.Channel)
	if err != nil {
		return err
	}
	e.well = fmt.Sprintf("The application's tables are of version %d, which is this program's.", s.Version)
	switch {
	case s.Dirty:
		e.cutOff(e.Channel, s)
	case s.Version == 0:
		e.well = "The application's tables are not installed, which only the information channel needs."
	case s.Version < s.Latest:
		e.add(SeverityWarning, fmt.Sprintf("The application's tables are of version %d, and this program has %d.", s.Version, s.Latest), "Say: tidings migrate up")
	case s.Version > s.Latest:
		e.add(SeverityNote, fmt.Sprintf("The application's tables are of version %d; this program knows %d.", s.Version, s.Latest), "Look with the newer program.")
	}
	return nil
}

// cutOff tells of a migration that has begun, and not ended. One of tidings' own leaves nothing when it is killed.
func (e *examination) cutOff(set MigrationSet, s MigrationStatus) {
	e.add(SeverityProblem, fmt.Sprintf("Another program than tidings was cut off in the middle of migration %d.", s.Version),
		"If what that makes is not there, take it back, and have tidings do it:",
		fmt.Sprintf("update tidings.%s set version = version - 1, dirty = false", versionTable(set)))
}

// mayServe is whether the role may use schema n, and call what servers call, whose comments say so.
const mayServe = `(has_schema_privilege(n.oid, 'usage') and not exists (
    select from pg_proc p where p.pronamespace = n.oid and obj_description(p.oid, 'pg_proc') like '%Servers call it.%' and not has_function_privilege(p.oid, 'execute')))`

const servingRightsQuery = `
with n as (select n.oid, r.rolname as owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'tidings'),
may as (
    select ` + mayServe + ` as serve,
           has_schema_privilege(n.oid, 'usage') and not exists (
               select from pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'v', 'S') and not has_table_privilege(c.oid, 'select')) as look
      from n)
select case when m.serve then 'note' else 'problem' end,
       case when m.serve then format('Role %I may serve, but not look at all of schema tidings: much is not looked at here.', current_user)
            else format('Role %I may not call what a service calls.', current_user) end,
       case when m.serve then format('Look as a member of role %I, or make it one:', n.owner)
            else 'A role that only writes need not: look as the one that serves. If this is to be it, let it, as the schema''s owner (tidings migrate grant does so):' end,
       array[case when m.serve then format('grant %I to %I', n.owner, current_user) else format('select tidings.grant_serving(%L)', current_user) end]
  from n, may m where not m.serve or not m.look`

const migratingRightsQuery = `
select 'problem', format('Role %I may not make schema tidings.', current_user),
       'Let it; or make the schema for it (create schema tidings authorization …):',
       array[format('grant create on database %I to %I', current_database(), current_user)]
 where to_regnamespace('tidings') is null and not has_database_privilege(current_database(), 'create')
union all
select 'note', format(case when m.serve then 'Role %I may serve, but not upgrade: schema tidings is %I''s.' else 'Role %I may not upgrade: schema tidings is %I''s.' end, current_user, n.owner),
       'Upgrade as that role, by tidings migrate up, and serve with --no-migrate' || case when m.serve then '; or make this one a member of it:' else '.' end,
       case when m.serve then array[format('grant %I to %I', n.owner, current_user)] end
  from (select n.oid, n.nspowner, r.rolname as owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = 'tidings') as n,
       lateral (select ` + mayServe + ` as serve) as m
 where not pg_has_role(n.nspowner, 'usage')`

const schemaOwnerQuery = `
select 'warning', format('Schema tidings is the superuser %I''s, and the trigger functions run as he does, while %s is %I''s: a cast that he defines, of a type of a column, would too.',
                         r.rolname, min(w.relation::text), o.rolname),
       'If you do not trust that role as a superuser, install tidings as a plain one: tidings migrate down, and up as another role.', null::text[]
  from pg_namespace n
  join pg_roles r on r.oid = n.nspowner and r.rolsuper
  join tidings.watches w on true
  join pg_class c on c.oid = w.relation
  join pg_roles o on o.oid = c.relowner and not o.rolsuper
 where n.nspname = 'tidings' group by r.rolname, o.rolname`

const originQuery = `
select 'warning', 'This database is a copy of another, or was promoted, and no service has run on it since: the log and its cursors are still the other''s.',
       'Start the service, or say:', array['select tidings.settle()']
  from tidings.home h where h.origin <> tidings.origin() and not pg_is_in_recovery()`

const eventTriggersQuery = `
select 'note', format('The event trigger %I is disabled: new partitions, or changed policies, are noticed some seconds late.', t.evtname),
       'As a superuser:', array[format('alter event trigger %I enable', t.evtname)]
  from pg_event_trigger t where t.evtname in ('tidings_partitions', 'tidings_policies', 'tidings_dropped_policies') and t.evtenabled in ('D', 'R')`
