// SPDX-License-Identifier: MIT

// Queens on a board, with a goroutine for each that can be placed.
package main

import (
	"sync"
	measure "weft-peer-go"
)

const queens = 13

type board struct {
	column [16]int8
	rows   int
}

func (b *board) mayStand(c int) bool {
	for r := 0; r < b.rows; r++ {
		d := int(b.column[r]) - c
		if d == 0 || d == r-b.rows || d == b.rows-r {
			return false
		}
	}
	return true
}

func below(b board) int {
	if b.rows == queens {
		return 1
	}
	var counts [queens]int
	var done sync.WaitGroup
	for c := 0; c < queens; c++ {
		if b.mayStand(c) {
			next := b
			next.column[next.rows] = int8(c)
			next.rows++
			done.Add(1)
			go func(c int) {
				counts[c] = below(next)
				done.Done()
			}(c)
		}
	}
	done.Wait()
	all := 0
	for _, n := range counts {
		all += n
	}
	return all
}

func main() { measure.AskFork(73712, func() int { return below(board{}) }) }
