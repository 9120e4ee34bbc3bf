// SPDX-License-Identifier: MIT

// Two goroutines on one processor that take turns: each goes to the end of the queue.
package main

import (
	"runtime"
	"sync"
	"time"
	measure "weft-peer-go"
)

const (
	rounds   = 11
	perRound = 200000
)

func main() {
	runtime.GOMAXPROCS(1)
	times := make([]float64, rounds)
	for r := range times {
		var done sync.WaitGroup
		done.Add(2)
		begin := time.Now()
		for g := 0; g < 2; g++ {
			go func() {
				for i := 0; i < perRound; i++ {
					runtime.Gosched()
				}
				done.Done()
			}()
		}
		done.Wait()
		times[r] = float64(time.Since(begin).Nanoseconds()) / (2 * perRound)
	}
	measure.Print("time", "ns", measure.Median(times))
}
