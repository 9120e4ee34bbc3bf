// SPDX-License-Identifier: MIT

// Package measure has the instruments of ../../harness/measure.h, for Go's programs.
package measure

import (
	"bufio"
	"fmt"
	"os"
	"sort"
	"strings"
)

// StatusBytes gives a line of /proc/self/status in bytes.
func StatusBytes(name string) float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		panic(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, name) {
			var kilobytes float64
			if _, err := fmt.Sscan(line[len(name):], &kilobytes); err != nil {
				panic(err)
			}
			return kilobytes * 1024
		}
	}
	panic("no such line: " + name)
}

// Print writes an answer in the format that tools/bench reads.
func Print(metric, unit string, value float64) {
	fmt.Printf("%s\t%s\t%g\n", metric, unit, value)
}

// Median sorts the values.
func Median(values []float64) float64 {
	sort.Float64s(values)
	n := len(values)
	if n%2 != 0 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}
