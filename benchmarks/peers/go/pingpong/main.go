// SPDX-License-Identifier: MIT

// Two goroutines on one processor that send an item back and forth through two channels with room
// for one.
package main

import (
	"runtime"
	measure "weft-peer-go"
)

const count = 1000000

func main() {
	runtime.GOMAXPROCS(1)
	measure.TimeEach("round trip", count, func() {
		there := make(chan int, 1)
		back := make(chan int, 1)
		go func() {
			for i := 0; i < count; i++ {
				back <- <-there
			}
		}()
		for i := 0; i < count; i++ {
			there <- i
			<-back
		}
	})
}
