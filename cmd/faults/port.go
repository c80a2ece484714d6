package main

import "math/rand/v2"

// randomPorts are ports below those that systems give to connections.
func randomPorts() []int {
	ports := make([]int, 100)
	for i := range ports {
		ports[i] = 15000 + rand.IntN(15000)
	}
	return ports
}
