// SPDX-License-Identifier: MIT

// Items through a bounded channel between goroutines on one processor.
package main

import (
	"runtime"
	measure "weft-peer-go"
)

func main() {
	runtime.GOMAXPROCS(1)
	measure.AskItems()
}
