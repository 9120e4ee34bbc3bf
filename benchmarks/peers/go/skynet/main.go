// SPDX-License-Identifier: MIT

// A tree of goroutines with a million leaves.
package main

import (
	"sync"
	measure "weft-peer-go"
)

const width = 10

func skynet(number, leaves int) int {
	if leaves == 1 {
		return number
	}
	var sums [width]int
	var done sync.WaitGroup
	done.Add(width - 1)
	for i := 1; i < width; i++ {
		go func(i int) {
			sums[i] = skynet(number+i*(leaves/width), leaves/width)
			done.Done()
		}(i)
	}
	sums[0] = skynet(number, leaves/width)
	done.Wait()
	all := 0
	for _, s := range sums {
		all += s
	}
	return all
}

func main() { measure.AskFork(499999500000, func() int { return skynet(0, 1000000) }) }
