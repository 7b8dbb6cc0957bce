// SPDX-License-Identifier: MIT

package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func sleepLate(d time.Duration) time.Duration {
	start := time.Now()
	time.Sleep(d)
	return time.Since(start) - d
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// ---- 100,000 sleeps of 1 to 1,000 ms

func timers() {
	const n = 100000
	g := newGate(n)
	late := make([]time.Duration, n)
	for i := 0; i < n; i++ {
		go func(i int) {
			g.pass()
			late[i] = sleepLate(time.Duration(1+i*7919%1000) * time.Millisecond)
			g.busy.Done()
		}(i)
	}
	g.coming.Wait()
	time.Sleep(50 * time.Millisecond)
	before := cpuSeconds()
	g.open()
	report("timers_cpu", cpuSeconds()-before)
	var sum time.Duration
	for _, l := range late {
		sum += l
	}
	report("timers_mean", ms(sum)/n)
	report("timers_p99", ms(quantile(late, 0.99)))
}

// ---- ten sleepers of 1 ms beside two hogs of 200 ms

const hogTime = 200 * time.Millisecond

func spin() {
	for start := time.Now(); time.Since(start) < hogTime; {
	}
}

func block() {
	left := syscall.NsecToTimespec(int64(hogTime))
	for syscall.Nanosleep(&left, &left) == syscall.EINTR {
	}
}

func hogs(metric string, hog func()) {
	const sleepers = 10
	var stop atomic.Bool
	var sleeping, hogging sync.WaitGroup
	worst := make([]time.Duration, sleepers)
	sleeping.Add(sleepers)
	for i := 0; i < sleepers; i++ {
		go func(i int) {
			for !stop.Load() {
				if late := sleepLate(time.Millisecond); late > worst[i] {
					worst[i] = late
				}
			}
			sleeping.Done()
		}(i)
	}
	time.Sleep(20 * time.Millisecond)
	hogging.Add(2)
	for i := 0; i < 2; i++ {
		go func() {
			hog()
			hogging.Done()
		}()
	}
	hogging.Wait()
	stop.Store(true)
	sleeping.Wait()
	report(metric, ms(quantile(worst, 1)))
}

// ---- one sleeper of 1 ms beside a thousand that do nothing but yield

func yieldstorm() {
	const storm, sleeps = 1000, 500
	var stop atomic.Bool
	var all sync.WaitGroup
	late := make([]time.Duration, sleeps)
	all.Add(storm)
	for i := 0; i < storm; i++ {
		go func() {
			for !stop.Load() {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	time.Sleep(50 * time.Millisecond)
	for i := range late {
		late[i] = sleepLate(time.Millisecond)
	}
	stop.Store(true)
	all.Wait()
	report("yieldstorm_p99", ms(quantile(late, 0.99)))
}
