// SPDX-License-Identifier: MIT

// Starts a million goroutines on one processor and waits for all.
package main

import (
	"runtime"
	"sync"
	"time"
	measure "weft-peer-go"
)

const (
	rounds = 5
	count  = 1000000
)

func main() {
	runtime.GOMAXPROCS(1)
	before := measure.StatusBytes("VmRSS:")
	times := make([]float64, rounds)
	for r := range times {
		sum := 0
		var done sync.WaitGroup
		done.Add(count)
		begin := time.Now()
		for i := 0; i < count; i++ {
			go func() {
				sum++
				done.Done()
			}()
		}
		done.Wait()
		times[r] = float64(time.Since(begin).Nanoseconds()) / count
		if sum != count {
			panic("a goroutine is missing")
		}
	}
	measure.Print("memory", "bytes", (measure.StatusBytes("VmHWM:")-before)/count)
	measure.Print("first", "ns", times[0])
	measure.Print("time", "ns", measure.Median(times[1:]))
}
