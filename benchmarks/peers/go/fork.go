// SPDX-License-Identifier: MIT

package measure

import (
	"runtime"
	"time"
)

// AskFork times solve with one processor and with two, as ../../harness/fork.hpp does, but once
// each: a goroutine for each fork takes seconds.
func AskFork(expected int, solve func() int) {
	const rounds = 1
	before := StatusBytes("VmRSS:")
	for threads, name := range []string{"1 thread", "2 threads"} {
		runtime.GOMAXPROCS(threads + 1)
		times := make([]float64, rounds)
		for r := range times {
			begin := time.Now()
			if solve() != expected {
				panic("a wrong answer")
			}
			times[r] = float64(time.Since(begin).Nanoseconds()) / 1e6
		}
		Print(name, "ms", Median(times))
	}
	Print("memory", "bytes", StatusBytes("VmHWM:")-before)
}
