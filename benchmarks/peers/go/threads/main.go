// SPDX-License-Identifier: MIT

// Items through a bounded channel between goroutines on two processors.
package main

import (
	"runtime"
	measure "weft-peer-go"
)

func main() {
	runtime.GOMAXPROCS(2)
	measure.AskItems()
}
