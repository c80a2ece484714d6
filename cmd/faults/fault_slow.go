package main

import "time"

var slowClients = fault{
	name: "slow-clients", title: "slow and stalled clients",
	about: "a third of the clients reads 256 KB a second, a third stops reading for three seconds now and then; queues and memory are small",
	// Pings stand behind what a slow client has yet to read.
	flags: []string{"--queue-bytes=16384", "--recent-bytes=65536", "--pong-timeout=15s"},
	pace: func(n int) *pace {
		switch n / 8 % 3 {
		case 0:
			return &pace{bytesPerSecond: 256 << 10}
		case 1:
			return &pace{stallEvery: 5 * time.Second, stall: 3 * time.Second}
		}
		return nil
	},
}
