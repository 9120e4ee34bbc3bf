// SPDX-License-Identifier: MIT

package measure

import (
	"sync"
	"time"
)

const (
	capacity  = 1024
	itemCount = 1000000
)

// passAll sends all items through one channel from as many goroutines as receive them.
func passAll(eachSide int) {
	items := make(chan uint64, capacity)
	sums := make(chan uint64, eachSide)
	n := itemCount / eachSide
	var done sync.WaitGroup
	done.Add(eachSide)
	for g := 0; g < eachSide; g++ {
		go func() {
			for i := 0; i < n; i++ {
				items <- uint64(i)
			}
			done.Done()
		}()
		go func() {
			var sum uint64
			for i := 0; i < n; i++ {
				sum += <-items
			}
			sums <- sum
		}()
	}
	done.Wait()
	var sum uint64
	for g := 0; g < eachSide; g++ {
		sum += <-sums
	}
	if each := uint64(n); sum != uint64(eachSide)*(each*(each-1)/2) {
		panic("items were lost")
	}
}

// TimeEach prints what one of count things takes; the first round isn't counted.
func TimeEach(metric string, count int, round func()) {
	round()
	times := make([]float64, 7)
	for r := range times {
		begin := time.Now()
		round()
		times[r] = float64(time.Since(begin).Nanoseconds()) / float64(count)
	}
	Print(metric, "ns", Median(times))
}

// AskItems prints what an item takes on its way through a bounded channel.
func AskItems() {
	TimeEach("1:1", itemCount, func() { passAll(1) })
	TimeEach("4:4", itemCount, func() { passAll(4) })
}
