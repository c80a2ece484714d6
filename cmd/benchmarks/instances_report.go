package main

import (
	"fmt"
	"strings"
)

// fleetWatches are what was seen, by fleet and what was written.
type fleetWatches = map[fleet]map[int][]watch

// figuresOf are what the rounds came to.
func figuresOf(watches []watch, of func(watch) float64) (values []float64) {
	for _, w := range watches {
		values = append(values, of(w))
	}
	return values
}

func loadName(load int) string {
	if load == 0 {
		return "nobody writes"
	}
	return asCount(float64(load)) + " rows/s"
}

// fleetPostgres is PostgreSQL's CPU, and what it is asked to do.
func fleetPostgres(numbers []int, watches fleetWatches) (cpu, work resultTable) {
	cpu.head = []string{"", "Instances", "PostgreSQL's CPU", "lowest – highest", "with Redis", "lowest – highest", "Ratio", "lowest – highest"}
	work.head = []string{"", "Instances", "Rows/s", "with Redis", "Transactions", "with Redis", "Blocks", "with Redis", "Connections", "with Redis", "that listen", "with Redis"}
	used := func(w watch) float64 { return w.postgres }
	columns := []func(watch) float64{
		func(w watch) float64 { return w.rate },
		func(w watch) float64 { return w.transacted }, func(w watch) float64 { return w.blocks },
		func(w watch) float64 { return float64(w.connections) }, func(w watch) float64 { return float64(w.listening) },
	}
	for _, load := range instanceLoads {
		cpu.add(loadName(load), "0", spreadOf(figuresOf(watches[fleet{}][load], used)).cells(asMilliseconds), "–", "–", "–", "–")
		for _, n := range numbers {
			each, relayed := watches[fleet{n, false}][load], watches[fleet{n, true}][load]
			cpu.add(loadName(load), fmt.Sprint(n), spreadOf(figuresOf(each, used)).cells(asMilliseconds), spreadOf(figuresOf(relayed, used)).cells(asMilliseconds),
				ratioOf(figuresOf(relayed, used), figuresOf(each, used)).cells(asRatio))
			cells := []any{loadName(load), fmt.Sprint(n)}
			for _, of := range columns {
				cells = append(cells, asCount(spreadOf(figuresOf(each, of)).median), asCount(spreadOf(figuresOf(relayed, of)).median))
			}
			work.add(cells...)
		}
	}
	return cpu, work
}

// fleetLatency is what the way by Redis costs in time.
func fleetLatency(numbers []int, watches fleetWatches) resultTable {
	t := resultTable{head: []string{"", "Instances", "From commit", "each reads", "lowest – highest", "with Redis", "lowest – highest", "Ratio", "lowest – highest"}}
	for _, load := range instanceLoads[1:] {
		for _, n := range numbers {
			for _, q := range []struct {
				name string
				of   func(watch) float64
			}{{"p50", func(w watch) float64 { return w.p50 }}, {"p99", func(w watch) float64 { return w.p99 }}} {
				each, relayed := figuresOf(watches[fleet{n, false}][load], q.of), figuresOf(watches[fleet{n, true}][load], q.of)
				t.add(loadName(load), fmt.Sprint(n), q.name, spreadOf(each).cells(asMilliseconds), spreadOf(relayed).cells(asMilliseconds), ratioOf(relayed, each).cells(asRatio))
			}
		}
	}
	return t
}

// fleetCPU is what the instances and Redis use.
func fleetCPU(numbers []int, watches fleetWatches) resultTable {
	t := resultTable{head: []string{"", "Instances", "CPU of an instance", "with Redis", "the busiest", "Redis' CPU", "Commands", "Bytes to it", "Bytes from it"}}
	for _, load := range instanceLoads {
		for _, n := range numbers {
			each, relayed := watches[fleet{n, false}][load], watches[fleet{n, true}][load]
			median := func(watches []watch, format func(float64) string, of func(watch) float64) string {
				return format(spreadOf(figuresOf(watches, of)).median)
			}
			t.add(loadName(load), fmt.Sprint(n),
				median(each, asMilliseconds, func(w watch) float64 { return w.instanceCPU }), median(relayed, asMilliseconds, func(w watch) float64 { return w.instanceCPU }),
				median(relayed, asMilliseconds, func(w watch) float64 { return w.busiest }), median(relayed, asMilliseconds, func(w watch) float64 { return w.redisCPU }),
				median(relayed, asCount, func(w watch) float64 { return w.commands }),
				median(relayed, asKilobytes, func(w watch) float64 { return w.in }), median(relayed, asKilobytes, func(w watch) float64 { return w.out }))
		}
	}
	return t
}

// fleetCharts are PostgreSQL's CPU by the number of instances.
func fleetCharts(numbers []int, watches fleetWatches) (charts []chart) {
	for _, load := range instanceLoads {
		each, relayed := figures{}, figures{}
		for _, n := range numbers {
			each[n] = figuresOf(watches[fleet{n, false}][load], func(w watch) float64 { return w.postgres })
			relayed[n] = figuresOf(watches[fleet{n, true}][load], func(w watch) float64 { return w.postgres })
		}
		charts = append(charts, chart{
			name: fmt.Sprintf("instances-%d", load), title: "CPU of PostgreSQL, by the instances: " + loadName(load), x: "instances", y: "milliseconds a second",
			curves: []curve{each.curve("each reads", 1000), relayed.curve("with Redis", 1000)},
		})
	}
	return charts
}

// fleetRemarks says what one more instance costs: the slope from the fewest to the most.
func fleetRemarks(numbers []int, watches fleetWatches) string {
	first, last := numbers[0], numbers[len(numbers)-1]
	var parts []string
	for _, load := range instanceLoads {
		slope := func(redis bool) spread {
			few, many := watches[fleet{first, redis}][load], watches[fleet{last, redis}][load]
			var slopes []float64
			for i := range few {
				slopes = append(slopes, (many[i].postgres-few[i].postgres)/float64(last-first))
			}
			return spreadOf(slopes)
		}
		parts = append(parts, fmt.Sprintf("%s, %s, and with Redis %s", loadName(load), asMilliseconds(slope(false).median), asMilliseconds(slope(true).median)))
	}
	return fmt.Sprintf("One more instance costs PostgreSQL so much CPU a second (from %d to %d instances): %s.", first, last, strings.Join(parts, "; "))
}
