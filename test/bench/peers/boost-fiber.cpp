// SPDX-License-Identifier: MIT
// The workloads of test/bench/sched in Boost.Fiber, to the same rules: boost-fiber WORKLOAD
// [WORKERS]
//
// One worker runs Boost's default scheduler, more of them its work_stealing. Its queues are
// first-in first-out, so that fork-join has a fiber for most of the tree alive at once: fib30,
// skynet and parked want up to ten gigabytes.
#include <boost/fiber/all.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <malloc.h>
#include <sys/resource.h>
#include <time.h>

namespace fibers = boost::fibers;
namespace this_fiber = boost::this_fiber;
using clock_type = std::chrono::steady_clock;
using nanoseconds = std::chrono::nanoseconds;
using std::chrono::milliseconds;

namespace
{

constexpr int passes = 5, batch = 1000;
constexpr auto pass_time = milliseconds(100);

// ---- what all of them use

void report(const char *metric, double value)
{
	std::printf("%s %.6g\n", metric, value);
}

double ns(clock_type::duration d)
{
	return std::chrono::duration<double, std::nano>(d).count();
}

double ms(clock_type::duration d)
{
	return ns(d) / 1e6;
}

// The median of the passes after one to warm up.
double median(const std::function<double()> &pass)
{
	std::vector<double> values(passes);
	pass();
	for (auto &value : values)
		value = pass();
	std::sort(values.begin(), values.end());
	return values[passes / 2];
}

// The mean ns of an operation, chunk doing batch of them.
double mean(void (*chunk)())
{
	auto start = clock_type::now();
	for (double done = batch;; done += batch) {
		chunk();
		auto took = clock_type::now() - start;
		if (took >= pass_time)
			return ns(took) / done;
	}
}

nanoseconds quantile(std::vector<nanoseconds> &values, double rank)
{
	std::sort(values.begin(), values.end());
	auto at = static_cast<size_t>(rank * static_cast<double>(values.size()));
	return values[std::min(at, values.size() - 1)];
}

// A field of /proc/self/status in bytes.
double memory(const std::string &field)
{
	std::ifstream status("/proc/self/status");
	for (std::string line; std::getline(status, line);)
		if (line.compare(0, field.size() + 1, field + ":") == 0)
			return std::atof(line.c_str() + field.size() + 1) * 1024;
	std::abort();
}

// A count that fibers wait for.
class countdown
{
	fibers::mutex mutex;
	fibers::condition_variable zero;
	std::atomic<long> count;

      public:
	explicit countdown(long n) : count(n)
	{
	}

	void done()
	{
		if (count.fetch_sub(1) != 1)
			return;
		std::lock_guard<fibers::mutex> lock(mutex);
		zero.notify_all();
	}

	void wait()
	{
		std::unique_lock<fibers::mutex> lock(mutex);
		zero.wait(lock, [this] { return count == 0; });
	}
};

// Many fibers, of which each says that it has come, waits for all to be let go, and says that it is
// done.
struct gate {
	countdown coming, closed{1}, busy;

	explicit gate(long n) : coming(n), busy(n)
	{
	}

	void pass()
	{
		coming.done();
		closed.wait();
	}

	void open()
	{
		closed.done();
		busy.wait();
	}
};

template <typename Function> void spawn(Function &&function)
{
	fibers::fiber(std::forward<Function>(function)).detach();
}

// ---- yield: the clock runs from the last fiber's start to the first one's end; one worker, so
// plain variables do

double yield_pass(int n)
{
	constexpr int yields = 1000000;
	std::vector<fibers::fiber> all;
	clock_type::time_point start, end;
	int arrived = 0;
	for (int i = 0; i < n; i++)
		all.emplace_back([&] {
			if (++arrived == n)
				start = clock_type::now();
			while (arrived < n)
				this_fiber::yield();
			for (int i = yields / n; i > 0; i--)
				this_fiber::yield();
			if (end == clock_type::time_point())
				end = clock_type::now();
		});
	for (auto &fiber : all)
		fiber.join();
	return ns(end - start) / yields;
}

// ---- spawn and join: one at a time, and a thousand at a time

void join_chunk()
{
	for (int i = 0; i < batch; i++)
		fibers::fiber([] {}).join();
}

void batch_chunk()
{
	static std::vector<fibers::fiber> all;
	for (int i = 0; i < batch; i++)
		all.emplace_back([] {});
	for (auto &fiber : all)
		fiber.join();
	all.clear();
}

// ---- fork-join

void check(const char *what, long got, long want)
{
	if (got == want)
		return;
	std::fprintf(stderr, "boost-fiber: %s: %ld instead of %ld\n", what, got, want);
	std::exit(1);
}

// Spawns fib(n-1), computes fib(n-2) in its own place meanwhile, and joins.
long fib(int n)
{
	if (n < 2)
		return n;
	long left;
	fibers::fiber child([&left, n] { left = fib(n - 1); });
	long right = fib(n - 2);
	child.join();
	return left + right;
}

void fib30()
{
	auto start = clock_type::now();
	check("fib30", fib(30), 832040);
	report("fib30", ms(clock_type::now() - start));
	report("fib30_rss", memory("VmHWM") / 1e6);
}

constexpr long leaves = 1000000, children = 10;

long node(long number, long leaves)
{
	if (leaves == 1)
		return number;
	fibers::fiber all[children];
	long results[children], sum = 0;
	for (long i = 0; i < children; i++)
		all[i] = fibers::fiber([&results, i, number, leaves] {
			results[i] = node(number + i * leaves / children, leaves / children);
		});
	for (long i = 0; i < children; i++) {
		all[i].join();
		sum += results[i];
	}
	return sum;
}

void skynet()
{
	auto start = clock_type::now();
	check("skynet", node(0, leaves), leaves * (leaves - 1) / 2);
	report("skynet", ms(clock_type::now() - start));
}

// ---- parked: a million wait at a gate. Boost's default stack has no guard; with one, the kernel's
// limit on mappings ends it at 32,000

void parked()
{
	constexpr int n = 1000000;
	static gate gate(n);
	double before = memory("VmRSS") + memory("VmPTE");
	auto start = clock_type::now();
	for (int i = 0; i < n; i++)
		spawn([] {
			gate.pass();
			gate.busy.done();
		});
	gate.coming.wait();
	report("parked_create", ms(clock_type::now() - start));
	report("parked_memory", (memory("VmRSS") + memory("VmPTE") - before) / n);
	start = clock_type::now();
	gate.open();
	report("parked_wake", ms(clock_type::now() - start));
}

// ---- how late a sleeper wakes

nanoseconds sleep_late(milliseconds d)
{
	auto start = clock_type::now();
	this_fiber::sleep_for(d);
	return clock_type::now() - start - d;
}

double cpu_seconds()
{
	rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

void timers()
{
	constexpr int n = 100000;
	static gate gate(n);
	static std::vector<nanoseconds> late(n);
	for (int i = 0; i < n; i++)
		spawn([i] {
			gate.pass();
			late[i] = sleep_late(milliseconds(1 + i * 7919L % 1000));
			gate.busy.done();
		});
	gate.coming.wait();
	this_fiber::sleep_for(milliseconds(50));
	double before = cpu_seconds();
	gate.open();
	report("timers_cpu", cpu_seconds() - before);
	nanoseconds sum{};
	for (auto l : late)
		sum += l;
	report("timers_mean", ms(sum) / n);
	report("timers_p99", ms(quantile(late, 0.99)));
}

constexpr auto hog_time = milliseconds(200);

void spin()
{
	auto end = clock_type::now() + hog_time;
	while (clock_type::now() < end)
		;
}

void block()
{
	timespec left = {0, std::chrono::nanoseconds(hog_time).count()};
	while (nanosleep(&left, &left) != 0)
		;
}

void hogs(const char *metric, void (*hog)())
{
	constexpr int sleepers = 10;
	std::atomic<bool> stop{false};
	std::vector<nanoseconds> worst(sleepers);
	std::vector<fibers::fiber> sleeping, hogging;
	for (auto &w : worst)
		sleeping.emplace_back([&] {
			while (!stop)
				w = std::max(w, sleep_late(milliseconds(1)));
		});
	this_fiber::sleep_for(milliseconds(20));
	for (int i = 0; i < 2; i++)
		hogging.emplace_back(hog);
	for (auto &fiber : hogging)
		fiber.join();
	stop = true;
	for (auto &fiber : sleeping)
		fiber.join();
	report(metric, ms(quantile(worst, 1)));
}

void yieldstorm()
{
	constexpr int storm = 1000, sleeps = 500;
	std::atomic<bool> stop{false};
	std::vector<fibers::fiber> all;
	std::vector<nanoseconds> late(sleeps);
	for (int i = 0; i < storm; i++)
		all.emplace_back([&] {
			while (!stop.load(std::memory_order_relaxed))
				this_fiber::yield();
		});
	this_fiber::sleep_for(milliseconds(50));
	for (auto &l : late)
		l = sleep_late(milliseconds(1));
	stop = true;
	for (auto &fiber : all)
		fiber.join();
	report("yieldstorm_p99", ms(quantile(late, 0.99)));
}

// ---- one workload

struct workload {
	void (*run)();
	bool idle_sleep; // a worker without work sleeps, and nobody wakes it for others' work
};

// Boost lets an idle worker spin. Where one that sleeps makes better figures, it does.
const std::map<std::string, workload> workloads = {
	{"yield2", {[] { report("yield2", median([] { return yield_pass(2); })); }, false}},
	{"yield1000",
		{[] { report("yield1000", median([] { return yield_pass(1000); })); }, false}},
	{"spawn_join",
		{[] { report("spawn_join", median([] { return mean(join_chunk); })); }, true}},
	{"spawn_batch",
		{[] { report("spawn_batch", median([] { return mean(batch_chunk); })); }, true}},
	{"fib30", {fib30, false}},
	{"skynet", {skynet, false}},
	{"parked", {parked, false}},
	{"timers", {timers, true}},
	{"hog_spin", {[] { hogs("hog_spin", spin); }, false}},
	{"hog_block", {[] { hogs("hog_block", block); }, false}},
	{"yieldstorm", {yieldstorm, false}},
};

// Runs the workload on this thread while the others, if any, steal from it.
void run(const workload &workload, unsigned workers)
{
	if (workers == 1)
		return workload.run();
	countdown finished(1);
	std::vector<std::thread> others;
	auto join = [&] {
		fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(
			workers, workload.idle_sleep);
	};
	for (unsigned i = 1; i < workers; i++)
		others.emplace_back([&] {
			join();
			finished.wait();
		});
	join();
	workload.run();
	finished.done();
	for (auto &thread : others)
		thread.join();
}

} // namespace

int main(int argc, char **argv)
{
	if (argc < 2) {
		std::fputs("usage: boost-fiber WORKLOAD [WORKERS]\n", stderr);
		return 2;
	}
	auto workload = workloads.find(argv[1]);
	if (workload == workloads.end())
		return 77; // the runner's "has no such workload"
	// Stacks come from malloc, which would map and unmap each (4,800 ns a fiber, not 200) and
	// give the top of the heap back again and again.
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	run(workload->second, argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1);
}
