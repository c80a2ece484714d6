package db

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The watched tables: whether all that is written to them is heard, and told to those who may have it.
var watchChecks = []check{
	{name: "watched", look: lookAtWatches, needs: needsSchema},
	{name: "triggers", well: "Each watched table has its triggers, and they fire.", needs: needsSchema, look: asked(triggersQuery)},
	{name: "trigger-functions", well: "The trigger functions are as tidings has made them.", needs: needsSchema, look: asked(triggerFunctionsQuery)},
	{name: "columns", well: "The columns by which tables are watched are there.", needs: needsSchema, look: asked(columnsQuery)},
	{name: "partitions", well: "What is written to parts of watched tables is heard.", needs: needsSchema, look: asked(partsQuery)},
	{name: "row-security", well: "Row security can be asked who may read.", needs: needsSchema, look: lookAtRowSecurity},
	{name: "policies", well: "The functions that say who may subscribe are there, and answer.", needs: needsSchema, look: lookAtPolicies},
	{name: "subscriptions", well: "No watched table is written by logical replication.", needs: needsSchema, look: asked(subscriptionsQuery)},
	{name: "unlogged", well: "A crash empties nothing that is watched, or that tidings keeps.", needs: needsSchema, look: asked(unloggedQuery)},
}

func lookAtWatches(ctx context.Context, e *examination) error {
	var n int
	if err := e.tx.QueryRow(ctx, `select count(*) from tidings.watches w join pg_class c on c.oid = w.relation`).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		e.add(SeverityNote, "No table is watched, so nothing is told.", "Make one live: tidings watch TABLE")
	}
	e.well = fmt.Sprintf("%d tables are watched.", n)
	if n == 1 {
		e.well = "One table is watched."
	}
	return nil
}

const triggersQuery = `
select 'problem', format('Triggers are missing on %s, so what is written to it is not heard.', string_agg(distinct m.relation::regclass::text, ', ')),
       'Make them anew; a running service does so within 15 seconds, if its role may:', array['select tidings.refresh()']
  from tidings.watches w
  join pg_class c on c.oid = w.relation,
       lateral (select relation, name from tidings.triggers_wanted(w) except select relation, name from tidings.triggers_there(w)) as m
 group by w.id
union all
select 'problem', format('Triggers of tidings on %s %s: what is written there is not heard.', t.relation::regclass,
                         case when bool_and(t.enabled = 'R') then 'fire for replication only' else 'are disabled' end),
       'Enable them; what was missed, clients get when they load afresh:',
       array_agg(format('alter table %s enable trigger %I', t.relation::regclass, t.name) order by t.name)
  from tidings.watches w, lateral (select * from tidings.triggers_there(w) as x where x.enabled in ('D', 'R')) as t
 group by t.relation
 order by 2`

const triggerFunctionsQuery = `
with f as (
    select w.relation, p.oid, p.proowner, p.prosecdef, p.proconfig, n.nspowner, p.prosrc = tidings.capture_source(w, o.op) as current
      from tidings.watches w
      join pg_class c on c.oid = w.relation
     cross join tidings.ops() as o(op)
      join pg_namespace n on n.nspname = 'tidings'
      join pg_proc p on p.oid = to_regproc('tidings.' || tidings.capture_name(w, o.op)))
select 'problem', format('Trigger functions of %s are not the owner''s of schema tidings: they may not write to the log, or may do more than they should.', f.relation::text),
       'Give them back:', array_agg(format('alter function %s owner to %I', f.oid::regprocedure, r.rolname) order by f.oid::regprocedure::text)
  from f join pg_roles r on r.oid = f.nspowner where f.proowner <> f.nspowner group by f.relation
union all
select 'problem', format('Trigger functions of %s do not run as their owner (SECURITY DEFINER), or with other settings than tidings gave them: writers who may not write to the log fail.', f.relation::text),
       'Have them made anew:', array['select tidings.refresh()']
  from f where not f.prosecdef or f.proconfig is null group by f.relation
union all
select 'warning', format('Trigger functions of %s are not as tidings would make them now.', f.relation::text),
       'A running service makes them anew within 15 seconds, if its role may; otherwise:', array['select tidings.refresh()']
  from f where not f.current and f.prosecdef and f.proconfig is not null group by f.relation`

// What a watch's columns have become; to watch the table again, without those that are gone.
const columnsQuery = `
with w as (
    select w.*, exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = w.key and a.attnum > 0 and not a.attisdropped) as has_key,
           tidings.owner_column(w) as owner,
           exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = tidings.owner_column(w) and a.attnum > 0 and not a.attisdropped) as has_owner,
           array(select c.name from unnest(w.columns) with ordinality as c(name, n)
                  where exists (select from pg_attribute a where a.attrelid = w.relation and a.attname = c.name and a.attnum > 0 and not a.attisdropped) order by c.n) as left_columns
      from tidings.watches w join pg_class c on c.oid = w.relation)
select case when w.owner is not null and not w.has_owner then 'problem' else 'warning' end,
       format('Of %s, these are gone: %s.', w.relation::text, concat_ws(', ',
              case when w.key is not null and not w.has_key then format('the key column %I, so its events have no key', w.key) end,
              'columns that are told of: ' || nullif((select string_agg(quote_ident(c), ', ') from unnest(w.columns) as c where c <> all (w.left_columns)), ''),
              case when w.owner is not null and not w.has_owner then format('the owner''s column %I, so its rows are told to nobody', w.owner) end)),
       case when w.owner is not null and not w.has_owner
            then 'Watch the table again, and say by read whose rows they are: tidings watch ' || w.relation::text || ' --read owner:COLUMN'
            else 'Watch it as it is now (its primary key is the key, if nothing else is said):' end,
       case when w.owner is not null and not w.has_owner then null else array[format(
           'select tidings.watch(%L, topic => %L, event => %L%s%s, read => %L%s, typing => %L)', w.relation::text, w.topic, w.event,
           case when w.has_key then format(', key => %L', w.key) else '' end,
           case when w.columns is null or w.left_columns = '{}' then '' else format(', columns => %L', w.left_columns) end, w.read,
           case when w.claims is null then '' else format(', claims => %L', w.claims) end, w.typing)] end
  from w
 where w.key is not null and not w.has_key or w.owner is not null and not w.has_owner or cardinality(w.left_columns) < cardinality(w.columns)`

const partsQuery = `
select 'problem', format('Table %s has become a partition of %s: what is written through that is not heard.', w.relation::text, root.relid::text),
       'Watch that instead:', array[format('select tidings.unwatch(%L)', w.relation::text)] || case
           when x.id is null then array[format('select tidings.watch(%L, topic => %L, event => %L, read => %L)', root.relid::text, w.topic, w.event, w.read)] else '{}' end
  from tidings.watches w
  cross join lateral (select p.relid::regclass as relid from pg_partition_ancestors(w.relation) as p(relid) where p.relid <> w.relation
                       order by p.relid = pg_partition_root(w.relation) desc limit 1) as root
  left join tidings.watches x on x.relation = root.relid
union all
select 'problem', format('Partition %s of %s is a foreign table, of which PostgreSQL tells triggers nothing.', c.oid::regclass, w.relation::text),
       'Detach it; its rows are then another table''s:', array[format('alter table %s detach partition %s', p.parentrelid, c.oid::regclass)]
  from tidings.watches w, pg_partition_tree(w.relation) as p join pg_class c on c.oid = p.relid and c.relkind = 'f'
union all
select 'warning', format('Table %s inherits from %s, and what is written to it is not heard: it is not watched itself.', c.oid::regclass, w.relation::text),
       'Watch it, under a topic of its own:', array[format('select tidings.watch(%L, read => %L)', c.oid::regclass::text, w.read)]
  from tidings.watches w
  join pg_inherits i on i.inhparent = w.relation
  join pg_class c on c.oid = i.inhrelid and c.relkind = 'r' and not c.relispartition
  left join tidings.watches x on x.relation = c.oid
 where x.id is null`

// As tidings.reader_problem() says it, with what mends it.
const readerQuery = `
select 'problem', format('Rows of %s are told to nobody: %s.', w.relation::text, tidings.reader_problem(w)),
       'Let the role that asks row security read:',
       case when r.oid is null then array['create role tidings_reader nologin', format('grant tidings_reader to %I', current_user), 'select tidings.refresh()']
            when r.rolsuper or r.rolbypassrls or c.relowner = r.oid and not c.relforcerowsecurity then array['update tidings.settings set reader_role = null']
            when not tidings.may_become(r.oid) then array[format('grant %I to %I', r.rolname, current_user)]
            when not has_schema_privilege(r.oid, c.relnamespace, 'usage')
                then array[format('grant usage on schema %s to %I', c.relnamespace::regnamespace, r.rolname), format('grant select on %s to %I', w.relation, r.rolname)]
            else array[format('grant select on %s to %I', w.relation, r.rolname)] end
  from tidings.watches w
  join pg_class c on c.oid = w.relation and c.relrowsecurity
  left join pg_roles r on r.rolname = tidings.reader_role()
 where tidings.reader_problem(w) is not null
union all
select 'warning', format('Table %s has row security and no policy, so its rows are told to nobody.', w.relation::text),
       'Make a policy that says who may read a row; or, if all who may subscribe may have all rows:', array[format('alter table %s disable row level security', w.relation)]
  from tidings.watches w
  join pg_class c on c.oid = w.relation and c.relrowsecurity
 where not exists (select from pg_policy p where p.polrelid = w.relation and p.polcmd in ('r', '*') and p.polpermissive)`

const judgeQuery = `
select w.topic, w.relation::text, j.problem
  from tidings.watches w
  join pg_class c on c.oid = w.relation and c.relrowsecurity,
       lateral tidings.judge(w.topic, '{}', null, array['{}']) as j
 where tidings.reader_problem(w) is null and j.problem is not null`

func lookAtRowSecurity(ctx context.Context, e *examination) error {
	if err := asked(readerQuery)(ctx, e); err != nil {
		return err
	}
	return e.eachAnswer(ctx, judgeQuery, func(topic, table, problem string) {
		e.add(SeverityProblem, fmt.Sprintf("The policies of %s cannot be asked, so its rows are told to nobody: %s.", table, problem),
			"Ask them yourself, and mend what they lack, mostly a right of tidings_reader on what they look at: set role tidings_reader; select from "+table)
	})
}

const (
	policyGoneQuery = `
select 'problem', format('The function that says who may subscribe to %s is gone: %s(claims jsonb, topic text, key text), so nobody may.', x.topic, substr(x.read, 8)),
       case when x.relation is null then 'Make it, or let those who have signed in:' else 'Make it, or watch the table with another read; until then, for those who have signed in:' end,
       array[case when x.relation is null then format('update tidings.streams set read = ''signed_in'' where topic = %L', x.topic)
                  else format('update tidings.watches set read = ''signed_in'' where topic = %L', x.topic) end]
  from (select topic, read, relation from tidings.watches union all select topic, read, null from tidings.streams) as x
 where x.read like 'policy:%' and tidings.policy_function(x.read) is null`
	policyAnswerQuery = `
select x.topic, substr(x.read, 8), m.problem
  from (select topic, read from tidings.watches union all select topic, read from tidings.streams) as x,
       lateral tidings.may_subscribe(x.topic, null, '{}', null) as m
 where x.read like 'policy:%' and tidings.policy_function(x.read) is not null and m.problem is not null`
)

func lookAtPolicies(ctx context.Context, e *examination) error {
	if err := asked(policyGoneQuery)(ctx, e); err != nil {
		return err
	}
	return e.eachAnswer(ctx, policyAnswerQuery, func(topic, function, problem string) {
		e.add(SeverityProblem, fmt.Sprintf("The function that says who may subscribe to %s fails, so nobody may: %s.", topic, problem),
			fmt.Sprintf("Call it yourself as the service's role, and mend it: select %s('{}', '%s', null)", function, topic))
	})
}

// eachAnswer tells of what could not be asked. That it would have written is no answer: here, nobody may write.
func (e *examination) eachAnswer(ctx context.Context, query string, tell func(topic, what, problem string)) error {
	rows, _ := e.tx.Query(ctx, query)
	answers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[struct{ Topic, What, Problem string }])
	for _, a := range answers {
		if !strings.Contains(a.Problem, "read-only transaction") {
			tell(a.Topic, a.What, strings.TrimSuffix(a.Problem, "."))
		}
	}
	return err
}

const subscriptionsQuery = `
select 'warning', format('Table %s is written by the logical replication of subscription %I, of which statement triggers hear nothing.', w.relation::text, s.subname),
       'Serve the database where it is written first; or copy its rows into another table by statements of your own, and watch that.', null::text[]
  from tidings.watches w
  join pg_subscription_rel r on r.srrelid = any (array(select p.relid from pg_partition_tree(w.relation) as p union select w.relation))
  join pg_subscription s on s.oid = r.srsubid`

const unloggedQuery = `
select 'warning', format('Table %s is unlogged: a crash empties it, and nobody is told.', w.relation::text),
       'Have it logged (which writes it anew, under a lock):', array[format('alter table %s set logged', w.relation)]
  from tidings.watches w join pg_class c on c.oid = w.relation and c.relpersistence = 'u'
union all
select 'problem', format('Table %s is unlogged: a crash empties it, and events and cursors with it.', c.oid::regclass),
       'Have it logged again:', array[format('alter table %s set logged', c.oid::regclass)]
  from pg_class c
 where c.relnamespace = 'tidings'::regnamespace and c.relkind = 'r' and c.relpersistence = 'u' and c.relname <> 'instances'`
