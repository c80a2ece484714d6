package main

import (
	"context"
	"fmt"
	"time"
)

const (
	upkeepSlices  = 6
	upkeepWriters = 8
	upkeepRows    = 10_000
)

// upkeep measures whether the log, and what stands beside it, stays as large as what it has to keep.
func (b *bench) upkeep(ctx context.Context) (section, error) {
	slice := b.long / upkeepSlices
	s := section{
		title: "Writing on and on",
		method: fmt.Sprintf(`%s update random rows of %s as fast as they can for %s (`+"`-long`"+`), with the service running, in a database of its own.
Events are kept for the shortest time that can be set, one minute, and so the log is rotated all the time. Each line is a part of it. *Log* is what its eight
partitions and their indexes take on disk, with what is dead in them; *beside it* is everything else in schema `+"`tidings`"+`.`,
			plural(upkeepWriters, "writer"), asCount(upkeepRows), b.long),
	}
	endless, drop, err := b.postgres.fresh(ctx, "endless")
	if err != nil {
		return s, err
	}
	defer drop()
	writers, err := endless.writers(ctx, b.dir)
	if err != nil {
		return s, err
	}
	if _, err := endless.db.Pool.Exec(ctx, `update tidings.settings set retention = '1 minute'`); err != nil {
		return s, err
	}
	if err := endless.fill(ctx, watched, upkeepRows); err != nil {
		return s, err
	}
	service, err := b.startServiceOn(ctx, endless)
	if err != nil {
		return s, err
	}
	defer b.stopService(service)
	t := resultTable{head: []string{"After", "Rows/s", "Entries kept", "Log", "Bytes an entry", "Beside it", "Rotations"}}
	for n := range upkeepSlices {
		done, err := writers.write(ctx, watched.updateOne(upkeepRows), upkeepWriters, max(1, int(slice.Seconds())))
		if err != nil {
			return s, err
		}
		var entries, eras, logBytes, besideBytes int64
		err = endless.db.Pool.QueryRow(ctx, `select (select count(*) from tidings.log), (select max(era) from tidings.eras),
			(select sum(pg_total_relation_size(c.oid)) filter (where c.relname like 'log\_%') from pg_class c where c.relnamespace = 'tidings'::regnamespace and c.relkind = 'r'),
			(select sum(pg_total_relation_size(c.oid)) filter (where c.relname not like 'log\_%') from pg_class c where c.relnamespace = 'tidings'::regnamespace and c.relkind in ('r', 'S'))`).
			Scan(&entries, &eras, &logBytes, &besideBytes)
		if err != nil {
			return s, fmt.Errorf("measure the log: %w", err)
		}
		after := time.Duration(n+1) * slice
		b.say("  after %s: %s rows/s, %s entries in %s, %s beside it, %s", after, asCount(done.perSecond), asCount(float64(entries)),
			asMegabytes(float64(logBytes)), asKilobytes(float64(besideBytes)), plural(int(eras), "rotation"))
		t.add(after.String(), asCount(done.perSecond), asCount(float64(entries)), asMegabytes(float64(logBytes)),
			asCount(float64(logBytes)/float64(max(entries, 1))), asKilobytes(float64(besideBytes)), asCount(float64(eras)))
	}
	s.tables = []resultTable{t}
	return s, nil
}
