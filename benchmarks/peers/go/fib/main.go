// SPDX-License-Identifier: MIT

// Fibonacci's number, with a goroutine at each fork.
package main

import (
	"sync"
	measure "weft-peer-go"
)

func fib(n int) int {
	if n < 2 {
		return n
	}
	var b int
	var done sync.WaitGroup
	done.Add(1)
	go func() {
		b = fib(n - 2)
		done.Done()
	}()
	a := fib(n - 1)
	done.Wait()
	return a + b
}

func main() { measure.AskFork(2178309, func() int { return fib(32) }) }
