package bench

import "fmt"

// When the generator is taken for the bottleneck: it used nearly all that there is, or it was late, as it is where the
// service and the database beside it use the rest.
const (
	nearlyAll = 0.9
	wokenLate = 20 // milliseconds, of which one time in a hundred is more
)

// warn says what of the figures is not the service's doing.
func (r *Report) warn() {
	r.Warnings = []string{}
	warn := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	g := &r.Generator
	switch {
	case g.CPUShare != nil && *g.CPUShare >= nearlyAll:
		warn("the generator itself was the bottleneck, as it used %.0f %% of the CPU that it may use: "+
			"run it on another machine than the service, on several, or with less load", 100**g.CPUShare)
	case g.LateP99 >= wokenLate:
		warn("the generator itself was a bottleneck, as it did things %s late, the CPU being busy: "+
			"run it on another machine than the service and the database, or with less load", duration(g.LateP99))
	}
	if r.Rows.Written < r.Rows.Due {
		warn("the schedule was not kept, as %s of %s rows that were due were not written: the database takes no more from so many writers; "+
			"raise --writers, or lower --rate", count(r.Rows.Due-r.Rows.Written), count(r.Rows.Due))
	} else if late := r.BegunLate; late != nil && late.P99 >= wokenLate && g.LateP99 < wokenLate {
		warn("the schedule slipped, as one row in a hundred was begun %s late or later, no writer being free: raise --writers, "+
			"or the database is near its limit", duration(late.P99))
	}
	if r.Late > 0 {
		warn("%s deliveries had not come when the wait for them ended, though others still came: the service cannot keep this load", count(r.Late))
	}
}
