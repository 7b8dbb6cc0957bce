// SPDX-License-Identifier: MIT

// The workloads of test/bench/sched in Go, to the same rules: go WORKLOAD [WORKERS]
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	passes   = 5
	batch    = 1000
	passTime = 100 * time.Millisecond

	// What the runner takes for "this system has no such workload".
	exitWithout = 77
)

var workloads = map[string]func(){
	"yield2":      func() { report("yield2", median(func() float64 { return yieldPass(2) })) },
	"yield1000":   func() { report("yield1000", median(func() float64 { return yieldPass(1000) })) },
	"spawn_join":  func() { report("spawn_join", median(func() float64 { return mean(joinChunk) })) },
	"spawn_batch": func() { report("spawn_batch", median(func() float64 { return mean(batchChunk) })) },
	"fib30":       fib30,
	"skynet":      skynet,
	"parked":      parked,
	"timers":      timers,
	"hog_spin":    func() { hogs("hog_spin", spin) },
	"hog_block":   func() { hogs("hog_block", block) },
	"yieldstorm":  yieldstorm,
}

func report(metric string, value float64) {
	fmt.Printf("%s %.6g\n", metric, value)
}

func ms(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}

// median of the passes after one to warm up.
func median(pass func() float64) float64 {
	pass()
	values := make([]float64, passes)
	for i := range values {
		values[i] = pass()
	}
	sort.Float64s(values)
	return values[passes/2]
}

// mean ns of an operation, chunk doing batch of them.
func mean(chunk func()) float64 {
	start := time.Now()
	for done := batch; ; done += batch {
		chunk()
		if took := time.Since(start); took >= passTime {
			return float64(took) / float64(done)
		}
	}
}

func quantile(values []time.Duration, rank float64) time.Duration {
	sort.Slice(values, func(i, j int) bool { return values[i] < values[j] })
	at := int(rank * float64(len(values)))
	if at == len(values) {
		at--
	}
	return values[at]
}

// memory is a field of /proc/self/status in bytes.
func memory(field string) float64 {
	status, err := os.ReadFile("/proc/self/status")
	must(err)
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, field+":") {
			kib, err := strconv.Atoi(strings.Fields(line)[1])
			must(err)
			return float64(kib) * 1024
		}
	}
	panic("no " + field)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// gate: many goroutines, of which each says that it has come, waits for all to be let go, and says
// that it is done.
type gate struct {
	coming, busy sync.WaitGroup
	closed       chan struct{}
}

func newGate(n int) *gate {
	g := &gate{closed: make(chan struct{})}
	g.coming.Add(n)
	g.busy.Add(n)
	return g
}

func (g *gate) pass() {
	g.coming.Done()
	<-g.closed
}

func (g *gate) open() {
	close(g.closed)
	g.busy.Wait()
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: go WORKLOAD [WORKERS]")
		os.Exit(2)
	}
	workers := 1
	if len(os.Args) > 2 {
		n, err := strconv.Atoi(os.Args[2])
		must(err)
		workers = n
	}
	run, known := workloads[os.Args[1]]
	if !known {
		os.Exit(exitWithout)
	}
	runtime.GOMAXPROCS(workers)
	run()
}
