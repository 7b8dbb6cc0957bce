// SPDX-License-Identifier: MIT
// Two contexts of Boost.Context, as test/bench/sched/basic.c has them: boost-context switch
// The bare jump is what Boost's own fibers stand on, and faster than the class around it.
#include <boost/context/detail/fcontext.hpp>
#include <boost/context/fixedsize_stack.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace context = boost::context;
using context::detail::jump_fcontext;

static void bounce(context::detail::transfer_t from)
{
	for (;;)
		from = jump_fcontext(from.fctx, nullptr);
}

int main(int argc, char **argv)
{
	constexpr int passes = 5, switches = 2000000;
	using clock = std::chrono::steady_clock;
	if (argc < 2 || std::strcmp(argv[1], "switch") != 0)
		return 77; // the runner's "has no such workload"

	context::fixedsize_stack allocator;
	auto stack = allocator.allocate();
	context::detail::transfer_t to = {
		context::detail::make_fcontext(stack.sp, stack.size, bounce), nullptr};
	double values[passes];
	for (int pass = -1; pass < passes; pass++) { // the first one warms up
		auto start = clock::now();
		std::chrono::duration<double, std::nano> took{};
		double done = 0;
		do {
			for (int i = 0; i < switches / 2; i++)
				to = jump_fcontext(to.fctx, nullptr);
			done += switches;
			took = clock::now() - start;
		} while (took < std::chrono::milliseconds(100));
		if (pass >= 0)
			values[pass] = took.count() / done;
	}
	std::sort(values, values + passes);
	std::printf("switch %.6g\n", values[passes / 2]);
	allocator.deallocate(stack);
}
