// SPDX-License-Identifier: MIT

package main

import (
	"runtime"
	"sync"
	"time"
)

// ---- yield: the clock runs from the last goroutine's start to the first one's end; one worker, so
// plain variables do.

const yields = 1000000

func yieldPass(n int) float64 {
	var all sync.WaitGroup
	var start, end time.Time
	arrived := 0
	all.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			if arrived++; arrived == n {
				start = time.Now()
			}
			for arrived < n {
				runtime.Gosched()
			}
			for i := yields / n; i > 0; i-- {
				runtime.Gosched()
			}
			if end.IsZero() {
				end = time.Now()
			}
			all.Done()
		}()
	}
	all.Wait()
	return float64(end.Sub(start)) / yields
}

// ---- spawn and join: one at a time, and a thousand at a time

func joinChunk() {
	var one sync.WaitGroup
	for i := 0; i < batch; i++ {
		one.Add(1)
		go one.Done()
		one.Wait()
	}
}

func batchChunk() {
	var all sync.WaitGroup
	all.Add(batch)
	for i := 0; i < batch; i++ {
		go all.Done()
	}
	all.Wait()
}

// ---- fork-join

func check(what string, got, want int) {
	if got != want {
		panic(what)
	}
}

// fib spawns fib(n-1), computes fib(n-2) in its own place meanwhile, and joins.
func fib(n int) int {
	if n < 2 {
		return n
	}
	var child sync.WaitGroup
	var left int
	child.Add(1)
	go func() {
		left = fib(n - 1)
		child.Done()
	}()
	right := fib(n - 2)
	child.Wait()
	return left + right
}

func fib30() {
	start := time.Now()
	check("fib30", fib(30), 832040)
	report("fib30", ms(time.Since(start)))
	report("fib30_rss", memory("VmHWM")/1e6)
}

const leaves, children = 1000000, 10

func node(number, leaves int) int {
	if leaves == 1 {
		return number
	}
	var all sync.WaitGroup
	var results [children]int
	all.Add(children)
	for i := 0; i < children; i++ {
		go func(i int) {
			results[i] = node(number+i*leaves/children, leaves/children)
			all.Done()
		}(i)
	}
	all.Wait()
	sum := 0
	for _, result := range results {
		sum += result
	}
	return sum
}

func skynet() {
	start := time.Now()
	check("skynet", node(0, leaves), leaves*(leaves-1)/2)
	report("skynet", ms(time.Since(start)))
}

// ---- parked: a million wait at a gate

func parked() {
	const n = 1000000
	g := newGate(n)
	before := memory("VmRSS") + memory("VmPTE")
	start := time.Now()
	for i := 0; i < n; i++ {
		go func() {
			g.pass()
			g.busy.Done()
		}()
	}
	g.coming.Wait()
	report("parked_create", ms(time.Since(start)))
	report("parked_memory", (memory("VmRSS")+memory("VmPTE")-before)/n)
	start = time.Now()
	g.open()
	report("parked_wake", ms(time.Since(start)))
}
