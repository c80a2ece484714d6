package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tidings/redis/redistest"
)

// strain is what all who take part have done so far, or between two moments.
type strain struct {
	at        time.Time
	postgres  time.Duration   // CPU of all its processes
	instances []time.Duration // CPU of each
	redis     redisStrain
	counted   counts
}

// counts are what PostgreSQL counts in the database. Its processes tell of it after a second at most.
type counts struct {
	at           time.Time
	transactions int64
	blocks       int64 // that were looked at, in memory or not
}

// redisStrain is what Redis says of itself.
type redisStrain struct {
	cpu      time.Duration
	commands int64
	in, out  int64 // bytes
}

// countsPause is how long PostgreSQL's processes may keep what they have counted to themselves: until the first statement that comes a second later.
const countsPause = 2200 * time.Millisecond

func (s strain) minus(before strain) strain {
	d := strain{
		postgres: s.postgres - before.postgres,
		redis: redisStrain{
			cpu: s.redis.cpu - before.redis.cpu, commands: s.redis.commands - before.redis.commands,
			in: s.redis.in - before.redis.in, out: s.redis.out - before.redis.out,
		},
		counted: counts{
			transactions: s.counted.transactions - before.counted.transactions,
			blocks:       s.counted.blocks - before.counted.blocks,
		},
	}
	for i := range s.instances {
		d.instances = append(d.instances, s.instances[i]-before.instances[i])
	}
	return d
}

// count returns what was counted so far, when all have told of it; ping sends a statement on the writer's connection, which is not in the pool meanwhile.
func (p *postgres) count(ctx context.Context, ping func(ctx context.Context) error) (c counts, err error) {
	if err := pause(ctx, countsPause); err != nil {
		return c, err
	}
	// The connections of this program that do nothing now would tell of it only with their next statement.
	err = ping(ctx)
	for _, conn := range p.db.Pool.AcquireAllIdle(ctx) {
		err = errors.Join(err, conn.Ping(ctx))
		conn.Release()
	}
	c.at = time.Now()
	if err == nil {
		const query = `select xact_commit + xact_rollback, blks_hit + blks_read from pg_stat_database where datname = current_database()`
		err = p.db.Pool.QueryRow(ctx, query).Scan(&c.transactions, &c.blocks)
	}
	if err != nil {
		return c, fmt.Errorf("what the database has counted: %w", err)
	}
	return c, nil
}

// connected is how many connections the service has to the database, and how many of them read the log and listen.
func (p *postgres) connected(ctx context.Context) (all, reading, listening int64, err error) {
	const query = `select count(*), count(*) filter (where application_name = 'tidings reader'), count(*) filter (where application_name = 'tidings listener')
		from pg_stat_activity where datname = current_database() and application_name like 'tidings%'`
	err = p.db.Pool.QueryRow(ctx, query).Scan(&all, &reading, &listening)
	return all, reading, listening, err
}

func redisStrainOf(server *redistest.Server) (s redisStrain, err error) {
	info, err := server.Do("INFO", "ALL")
	if err != nil {
		return s, err
	}
	return parseRedisInfo(info)
}

// parseRedisInfo reads lines like "total_commands_processed:12".
func parseRedisInfo(info string) (s redisStrain, err error) {
	values := make(map[string]string)
	for lines := bufio.NewScanner(strings.NewReader(info)); lines.Scan(); {
		name, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), ":")
		values[name] = value
	}
	for name, target := range map[string]*int64{
		"total_commands_processed": &s.commands, "total_net_input_bytes": &s.in, "total_net_output_bytes": &s.out,
	} {
		if *target, err = strconv.ParseInt(values[name], 10, 64); err != nil {
			return s, fmt.Errorf("Redis says %s is %q: %w", name, values[name], err) //nolint:staticcheck // a name
		}
	}
	for _, name := range []string{"used_cpu_sys", "used_cpu_user"} {
		used, err := strconv.ParseFloat(values[name], 64)
		if err != nil {
			return s, fmt.Errorf("Redis says %s is %q: %w", name, values[name], err) //nolint:staticcheck // a name
		}
		s.cpu += time.Duration(used * float64(time.Second))
	}
	return s, nil
}
