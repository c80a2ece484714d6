package main

import "time"

var slowClients = fault{
	name: "slow-clients", title: "slow and stalled clients",
	about: "a third of the clients reads 100 KB a second, a third stops reading for five seconds now and then; queues and memory are small",
	flags: []string{"--queue-bytes=16384", "--recent-bytes=65536"},
	pace: func(n int) *pace {
		switch n / 8 % 3 {
		case 0:
			return &pace{bytesPerSecond: 100 << 10}
		case 1:
			return &pace{stallEvery: 5 * time.Second, stall: 5 * time.Second}
		}
		return nil
	},
}
