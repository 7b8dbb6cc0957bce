# thrum and replicad. GNU make, non-recursive. `make help` lists the targets.
# Variants: VARIANT=release (default), asan (ASan+UBSan), tsan, lto. V=1 shows commands.

VARIANT ?= release
VERSION := 0.1.0
SOMAJOR := 0
prefix ?= /usr/local
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib
includedir ?= $(prefix)/include
mandir ?= $(prefix)/share/man
B := build/$(VARIANT)
CXX ?= c++

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.DEFAULT_GOAL := all

# Goals that test or show something first install what they need: the included file is remade when it is
# missing or older than the script, and make then starts over with the compiler in place. A plain `make`
# installs nothing.
ifneq ($(filter check check-% lint-% demo bench bench-peers fuzz distcheck,$(MAKECMDGOALS)),)
include $(B)/setup.mk
endif
$(B)/setup.mk: tools/dev/bootstrap
	@mkdir -p $(@D)
	$(Q)tools/dev/bootstrap
	@touch $@

# ---------------------------------------------------------------- layers and sources
# One list per layer, sorted. A layer may include only from layers to its left; the table is
# also what tools/dev/check-layers reads.

THRUM_LAYERS := base ctx time sched reactor sync chan future io
UPPER_LAYERS := delta noise grpc rpc replica
LAYERS := $(THRUM_LAYERS) $(UPPER_LAYERS)

SRC_base    := buf.c check.c clock.c error.c lock.c log.c
SRC_ctx     := ctx.c sanitizer.c slab.c stack.c stack_use.c
SRC_time    := timer.c
SRC_sched   := blocking.c census.c claim.c cpus.c deque.c dispatch.c fork.c handoff.c idle.c machine.c \
	monitor.c overflow.c queue.c ready.c runtime.c spawn.c steal.c thread.c wait.c
SRC_reactor := pollable.c reactor.c
SRC_sync    := cond.c mutex.c semaphore.c waitgroup.c waitq.c
SRC_chan    := channel.c
SRC_future  := block_on.c combine.c leaf.c oneshot.c thread.c timer.c
SRC_io      := address.c conn.c dial.c dir.c dns.c fs.c fs_whole.c listener.c poll.c sock.c
SRC_delta   := diff.c emit.c format.c index.c job.c load.c md4.c patch.c sign.c weak.c
SRC_noise   := noise.c
SRC_grpc    := call.c conn.c headers.c open.c status.c wire.c
SRC_rpc     := call.c client.c conn.c health.c message.c noise_transport.c server.c transport.c
SRC_replica := alter.c batch.c conflict.c content.c control_service.c control_share.c \
	control_sync.c daemon.c datadir.c decide.c event.c fetch.c folder.c gate.c hash.c \
	index.c index_entry.c index_report.c index_rows.c index_value.c intent.c link.c \
	notify.c path.c peer_service.c pull.c record.c resolve.c root.c scan.c serve.c \
	session.c source.c stage.c ticket.c transfer.c tree.c tree_leaf.c tree_list.c \
	visit.c visit_close.c visit_commit.c visit_resolve.c vtime.c watch.c watch_map.c

ARCH ?= $(shell $(CC) -dumpmachine 2>/dev/null | sed 's/-.*//')
ASM_ctx := $(sort $(wildcard asm/$(ARCH)/*.S))

# Protocol definitions: compiled into $(B)/gen and linked with the layer that owns them.
PROTO_rpc     := rpc/health.proto
PROTO_replica := replica/control.proto replica/peer.proto

# Tests mirror src: test/<layer>/<file>; each file exports `Suite *suite_<file without test_>(void)`.
TEST_base    := test_buf.c test_log.c
TEST_ctx     := test_ctx.c test_stack.c
TEST_time    := test_timer.c
TEST_sched   := behave.c bystanders.c hogs.c test_blocking.c test_census.c test_cxx.cc \
	test_deque.c test_dispatch.c test_errno.c test_fairness.c test_fork.c test_handoff.c \
	test_idle.c test_memory.c test_overflow.c test_pin.c test_rejoin.c test_report.c \
	test_runtimes.c test_shutdown.c test_stress.c test_thread.c
TEST_reactor := test_loop.c test_pollable.c
TEST_sync    := test_cond.c test_mutex.c test_semaphore.c test_waitgroup.c test_waitq.c
TEST_chan    := test_channel.c test_channel_storm.c test_try_race.c
TEST_future  := test_block_on.c test_combine.c test_leaf.c
TEST_io      := test_address.c test_dns.c test_fs.c test_net.c test_net_end.c test_poll.c
TEST_delta   := test_diff.c test_format.c test_load.c test_memory.c test_patch.c test_rdiff.c test_weak.c
TEST_noise   := test_noise.c
TEST_grpc    := pair.c test_core.c test_foreign.c test_memory.c test_wire.c
TEST_rpc     := harness.c test_calls.c test_ends.c test_foreign.c test_noise_transport.c
TEST_replica := engine.c hostile.c model.c mutant_tree.c mutant_visit.c stranger.c test_batch.c \
	test_conflict.c test_datadir.c test_decide.c test_event.c test_hostile.c \
	test_index.c test_intent.c test_model.c test_path.c test_root.c test_scan.c \
	test_stranger.c test_ticket.c test_transfer.c test_tree.c test_vtime.c test_watch.c

# The explorer is no layer, but is tested like one.
TEST_explore := atomic.c engine.c memory.c race.c report.c search.c subject.c sync.c test_claim.c \
	test_deque.c test_dispatch.c test_engine.c test_handoff.c test_idle.c test_join.c test_lock.c test_queue.c test_wait.c

# What a layer's test binary links besides itself. Every thrum layer's test links the whole libthrum.
NEEDS_delta   := base
NEEDS_noise   := base
NEEDS_grpc    := base
NEEDS_rpc     := grpc noise $(THRUM_LAYERS)
NEEDS_replica := rpc grpc noise delta $(THRUM_LAYERS)
NEEDS_explore := base ctx
# How test binaries are linked whose allocations can be made to fail (test/failing.h).
comma := ,
WRAP_ALLOC := $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc free strdup strndup)
LINK_ctx   := $(addprefix -Wl$(comma)--wrap=,aligned_alloc madvise mmap mprotect syscall)
# LIBS_<layer>: what comes last: the scheduler is tested with C++ and with a library that computes for long.
LIBS_sched := -lstdc++
PKG_sched  := sqlite3
LINK_delta := $(WRAP_ALLOC)
LINK_explore := -Wl,--gc-sections # of a source under test only what is called need be complete
LINK_grpc  := $(WRAP_ALLOC) \
	$(addprefix -Wl$(comma)--wrap=,nghttp2_session_client_new2 nghttp2_session_server_new2)
PKG_thrum     := libuv
PKG_delta     := libsodium
PKG_noise     := libsodium
PKG_grpc      := libnghttp2 zlib
PKG_rpc       := libnghttp2 zlib libsodium libprotobuf-c libuv
PKG_replica   := $(PKG_rpc) sqlite3 libzstd

# Programs: every .c in tools/<program>; linked with what they use of everything.
PROGRAMS := rdelta replica replicad
PRG_rdelta   := tools/rdelta/commands.c tools/rdelta/file.c tools/rdelta/main.c
PRG_replica  := tools/replica/call.c tools/replica/cmd_conflicts.c tools/replica/cmd_id.c \
	tools/replica/cmd_invite.c tools/replica/cmd_join.c tools/replica/cmd_peers.c \
	tools/replica/cmd_resolve.c tools/replica/cmd_share.c tools/replica/cmd_status.c \
	tools/replica/cmd_stop.c tools/replica/cmd_sync.c tools/replica/cmd_unshare.c \
	tools/replica/cmd_watch.c tools/replica/cmd_why.c tools/replica/json.c tools/replica/main.c \
	tools/replica/options.c tools/replica/progress.c tools/replica/text.c
PRG_replicad := tools/replicad/main.c
PKG_programs := $(PKG_replica) inih jansson

# ---------------------------------------------------------------- flags
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wvla -Wundef -Wformat=2 -Wno-unused-parameter -Werror
WARN_C := -Wstrict-prototypes -Wmissing-prototypes -Wno-missing-prototypes # not for C++
CPPFLAGS_ALL := -Iinclude -Isrc -I$(B)/gen -D_GNU_SOURCE -DTHRUM_VERSION='"$(VERSION)"'
CFLAGS_ALL := -std=gnu11 -O2 -g -fPIC -fvisibility=hidden -fno-omit-frame-pointer \
	-fasynchronous-unwind-tables -ftls-model=initial-exec -pthread $(WARN)
LDFLAGS_ALL := -pthread

ifeq ($(VARIANT),asan)
CFLAGS_ALL += -fsanitize=address,undefined -fno-sanitize-recover=undefined -DTHRUM_DEBUG=1
LDFLAGS_ALL += -fsanitize=address,undefined
else ifeq ($(VARIANT),tsan)
CFLAGS_ALL += -fsanitize=thread -DTHRUM_DEBUG=1
LDFLAGS_ALL += -fsanitize=thread
else ifeq ($(VARIANT),lto)
CFLAGS_ALL += -flto=auto
LDFLAGS_ALL += -O2 -flto=auto
endif

pkg_cflags = $(shell pkg-config --cflags $(1))
pkg_libs   = $(shell pkg-config --libs $(1))
COMPILE_FLAGS = $(CPPFLAGS_ALL) $(CPPFLAGS) $(CFLAGS_ALL) $(CFLAGS)

# A changed flag rebuilds: objects depend on a stamp that holds the flags.
STAMP := $(B)/flags
ifneq ($(shell mkdir -p $(B)/gen; printf '%s' '$(subst ','\'',$(CC) $(COMPILE_FLAGS) $(LDFLAGS_ALL) $(LDFLAGS))' | cmp -s - $(STAMP) && echo same),same)
$(shell printf '%s' '$(subst ','\'',$(CC) $(COMPILE_FLAGS) $(LDFLAGS_ALL) $(LDFLAGS))' > $(STAMP))
endif

# ---------------------------------------------------------------- objects
obj = $(patsubst %.c,$(B)/%.o,$(patsubst %.cc,$(B)/%.o,$(patsubst %.S,$(B)/%.o,$(1))))
layer_obj = $(call obj,$(addprefix src/$(1)/,$(SRC_$(1))) $(ASM_$(1))) \
	$(patsubst %.proto,$(B)/gen/%.pb-c.o,$(PROTO_$(1)))
THRUM_OBJ := $(foreach l,$(THRUM_LAYERS),$(call layer_obj,$(l)))

$(B)/%.o: %.c $(STAMP)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(COMPILE_FLAGS) -MMD -MP -c $< -o $@

# C++ there is in tests alone: of what C++ code may do on a green thread.
$(B)/%.o: %.cc $(STAMP)
	@mkdir -p $(@D)
	$(say) CXX $<
	$(Q)$(CXX) $(filter-out -std=% $(WARN_C),$(COMPILE_FLAGS)) -std=gnu++17 -MMD -MP -c $< -o $@

# A test file's one export is named by the generated main.
$(B)/test/%.o: CFLAGS_ALL += -Wno-missing-prototypes

$(B)/%.o: %.S $(STAMP)
	@mkdir -p $(@D)
	$(say) AS $<
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CPPFLAGS) -g -MMD -MP -c $< -o $@

# Generated code is compiled without our warnings.
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: src/%.proto
	@mkdir -p $(@D)
	$(say) PROTOC $<
	$(Q)protoc-c --proto_path=src --c_out=$(B)/gen $<

$(B)/gen/%.o: $(B)/gen/%.c $(STAMP)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(filter-out $(WARN),$(COMPILE_FLAGS)) -MMD -MP -c $< -o $@

PROTO_H := $(patsubst %.proto,$(B)/gen/%.pb-c.h,$(PROTO_rpc) $(PROTO_replica))
$(call obj,$(addprefix src/rpc/,$(SRC_rpc)) $(addprefix test/rpc/,$(TEST_rpc))): | \
	$(patsubst %.proto,$(B)/gen/%.pb-c.h,$(PROTO_rpc))
$(call obj,$(addprefix src/replica/,$(SRC_replica)) $(addprefix test/replica/,$(TEST_replica)) \
	$(PRG_replica) $(PRG_replicad)): | $(PROTO_H)

# ---------------------------------------------------------------- libraries
# The layers above libthrum, for the programs: an archive, so that each takes only what it uses.
$(B)/libupper.a: $(foreach l,$(UPPER_LAYERS),$(call layer_obj,$(l)))
$(B)/libthrum.a: $(THRUM_OBJ)
$(B)/libthrum.a $(B)/libupper.a:
	$(say) AR $@
	$(Q)rm -f $@ && $(AR) rcsD $@ $^

$(B)/libthrum.so.$(VERSION): $(THRUM_OBJ) src/libthrum.map
	$(say) LD $@
	$(Q)$(CC) -shared $(LDFLAGS_ALL) $(LDFLAGS) -Wl,-soname,libthrum.so.$(SOMAJOR) \
		-Wl,--version-script=src/libthrum.map -Wl,-z,defs -o $@ $(THRUM_OBJ) $(call pkg_libs,$(PKG_thrum))

$(B)/libthrum.so.$(SOMAJOR) $(B)/libthrum.so: $(B)/libthrum.so.$(VERSION)
	$(Q)ln -sf $(<F) $@

# ---------------------------------------------------------------- what the explorer explores
# Each subject, test/explore/subject_<kind>.c, is compiled with its sources as they are and with each change of
# test/explore/mutants/<kind>.<name>.sed. The compiler reports the plain accesses as it would to TSan, and the
# explorer answers.
SOURCES_claim := sched/claim.c sched/claim.h
SOURCES_deque := sched/deque.c
SOURCES_dispatch := sched/dispatch.c sched/monitor.c sched/ready.c
SOURCES_handoff := sched/claim.c sched/claim.h sched/handoff.c
SOURCES_idle  := sched/idle.c
SOURCES_join  := sched/parker.h sched/spawn.c sched/thread.c sched/wait.c
SOURCES_lock  := base/lock.c base/lock.h
SOURCES_queue := sched/queue.c
SOURCES_wait  := sched/parker.h sched/wait.c
SUBJECTS := $(patsubst test/explore/subject_%.c,%,$(sort $(wildcard test/explore/subject_*.c)))
MUTANTS := $(patsubst test/explore/mutants/%.sed,%,$(sort $(wildcard test/explore/mutants/*.sed)))
OBJ_explore := $(patsubst %,$(B)/explore/%.o,$(addsuffix .real,$(SUBJECTS)) $(MUTANTS))

SUBJECT_FLAGS := -fsanitize=thread -ffunction-sections $(if $(filter asan,$(VARIANT)),-DTHRUM__ASAN=1)
compile_subject = $(CC) $(1) $(filter-out -fsanitize=%,$(COMPILE_FLAGS)) $(SUBJECT_FLAGS) -MMD -MP -c $< -o $@ $(2)
define SUBJECT_rules
$(B)/explore/$(1).real.o: test/explore/subject_$(1).c $(STAMP)
	@mkdir -p $$(@D)
	$$(say) CC $$@
	$$(Q)$$(call compile_subject,-DSUBJECT=real -DKIND=$(1))
	$$(Q)objcopy --localize-hidden $$@

$(B)/gen/explore/$(1).%.stamp: test/explore/mutants/$(1).%.sed $(addprefix src/,$(SOURCES_$(1))) test/explore/mutate
	@mkdir -p $$(@D)
	$$(Q)test/explore/mutate $$< $$(basename $$@) $(SOURCES_$(1))
	@touch $$@

$(B)/explore/$(1).%.o: test/explore/subject_$(1).c $(B)/gen/explore/$(1).%.stamp $(STAMP)
	@mkdir -p $$(@D)
	$$(say) CC $$@
	$$(Q)$$(call compile_subject,-DSUBJECT=$$* -DKIND=$(1) -I$(B)/gen/explore/$(1).$$*,-w)
	$$(Q)objcopy --localize-hidden $$@
endef
$(foreach s,$(SUBJECTS),$(eval $(call SUBJECT_rules,$(s))))

# ---------------------------------------------------------------- tests: one binary per layer
define TEST_rules
$(B)/gen/test_$(1)_main.c: Makefile
	@mkdir -p $$(@D)
	$$(Q)tools/dev/gen-test-main $(1) $(filter test_%,$(TEST_$(1))) > $$@

$(B)/test/$(1)/run: $(B)/gen/test_$(1)_main.o $(call obj,$(addprefix test/$(1)/,$(TEST_$(1)))) $(OBJ_$(1)) \
		$(if $(filter $(1),$(THRUM_LAYERS)),,$(call layer_obj,$(1))) \
		$(foreach n,$(if $(filter $(1),$(THRUM_LAYERS)),$(THRUM_LAYERS),$(NEEDS_$(1))),$(call layer_obj,$(n)))
	$$(say) LD $$@
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$(LDFLAGS) $(LINK_$(1)) -o $$@ $$^ \
		$$(call pkg_libs,check $(if $(filter $(1),$(THRUM_LAYERS)),$(PKG_thrum)) $(PKG_$(1))) $(LIBS_$(1))
endef
# The explorer has one OS thread, where TSan has nothing to look for.
TESTED_LAYERS := $(foreach l,$(LAYERS) $(if $(filter-out tsan,$(VARIANT)),explore),$(if $(TEST_$(l)),$(l)))
$(foreach l,$(TESTED_LAYERS),$(eval $(call TEST_rules,$(l))))

# T=layer[s] picks suites: make check-unit T="sched chan"
T ?= $(TESTED_LAYERS)
TEST_FILES := $(foreach l,$(T),$(B)/test/$(l)/run)
check-unit: $(TEST_FILES) ## test/<layer>; T picks layers
	$(Q)tools/dev/run-tests $(VARIANT) $^

# ---------------------------------------------------------------- programs
define PROGRAM_rules
$(B)/$(1): $(call obj,$(PRG_$(1))) $(B)/libupper.a $(B)/libthrum.a
	$$(say) LD $$@
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$(LDFLAGS) -Wl,--as-needed -o $$@ $$^ $$(call pkg_libs,$(PKG_programs))
endef
$(foreach p,$(PROGRAMS),$(eval $(call PROGRAM_rules,$(p))))

# One-file programs that need no list: every test/examples/*.c, test/bench/*.c and test/fuzz/fuzz_*.c.
# Examples see the public headers alone, and check-examples sets their number of workers; the others are
# linked with everything.
EXAMPLES := $(patsubst test/examples/%.c,%,$(sort $(wildcard test/examples/*.c)))
BENCHES  := $(patsubst test/bench/%.c,%,$(sort $(wildcard test/bench/*.c)))
FUZZERS  := $(patsubst test/fuzz/%.c,%,$(sort $(wildcard test/fuzz/fuzz_*.c)))

$(B)/examples/%: test/examples/%.c $(B)/test/examples/run/workers.o $(B)/libthrum.a
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) -Iinclude $(CPPFLAGS) $(CFLAGS_ALL) $(CFLAGS) $(LDFLAGS_ALL) $(LDFLAGS) \
		-Wl,--wrap=thrum_run -MMD -MP -MF $@.d -o $@ $^ $(call pkg_libs,$(PKG_thrum))

$(addprefix $(B)/bench/,$(BENCHES)) $(addprefix $(B)/fuzz/,$(FUZZERS)): \
		$(B)/%: $(B)/test/%.o $(B)/libupper.a $(B)/libthrum.a
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -Wl,--as-needed -o $@ $^ $(call pkg_libs,$(PKG_programs))

# The scheduler's benchmark, and what others do on the same work. Boost.Context is linked statically: a
# jump then takes no detour.
$(B)/bench/sched: $(call obj,$(sort $(wildcard test/bench/sched/*.c))) $(B)/libthrum.a
	@mkdir -p $(@D)
	$(say) LD $@
	$(Q)$(CC) $(LDFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(call pkg_libs,$(PKG_thrum))

PEERS := go boost-context boost-fiber
$(B)/peers/setup: tools/dev/bootstrap
	@mkdir -p $(@D)
	$(Q)tools/dev/bootstrap peers
	@touch $@

$(B)/peers/go: $(sort $(wildcard test/bench/peers/*.go)) | $(B)/peers/setup
	$(say) GO $@
	$(Q)GO111MODULE=off GOFLAGS= GOCACHE='$(abspath $(B))/peers/cache' go build -o $@ $^

$(B)/peers/boost-context: LIBS_peer := -l:libboost_context.a
$(B)/peers/boost-fiber: LIBS_peer := -lboost_fiber -lboost_context
$(B)/peers/boost-%: test/bench/peers/boost-%.cpp | $(B)/peers/setup
	$(say) CXX $@
	$(Q)$(CXX) -O2 -Wall -Wextra -pthread -o $@ $< $(LIBS_peer)

PROGRAM_FILES := $(addprefix $(B)/,$(PROGRAMS))
LIBRARY_FILES := $(B)/libthrum.a $(B)/libthrum.so $(B)/libthrum.so.$(SOMAJOR)

all: $(LIBRARY_FILES) $(PROGRAM_FILES) ## the library and the programs (default)

# ---------------------------------------------------------------- checks
# ONLY="name …" picks scenarios, examples, benchmarks or fuzzers.
# Builds run in parallel, the steps one after another. JOBS is empty where the caller said -j.
JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))
STEPS := check-unit check-lto check-e2e check-layers check-headers check-symbols check-examples check-install lint-man lint-sh
run_steps = set -e; for step in $(1); do $(MAKE) --no-print-directory $(2) $$step; done
variant_dir = $(patsubst %/,%,$(dir $(B)))/$(1)

check: ## install what is missing, build, and run every check of this variant
	$(Q)$(MAKE) --no-print-directory $(JOBS) build-tests
	$(Q)+$(call run_steps,$(STEPS))

check-asan check-tsan: check-%: ## unit and end-to-end tests and fuzzers under ASan+UBSan, or TSan
	$(Q)$(MAKE) --no-print-directory $(JOBS) VARIANT=$* B=$(call variant_dir,$*) build-tests
	$(Q)+$(call run_steps,check-unit check-e2e run-fuzzers,VARIANT=$* B=$(call variant_dir,$*) FUZZ_RUNS=$(or $(FUZZ_RUNS),2000))

# Suites that run on the architectures of asm/ that this machine is not, under qemu-user. What they link
# is built once, from Debian's sources.
CROSS_ARCHS := aarch64 riscv64
CROSS_T ?= ctx sched
CROSS = $(call variant_dir,cross)
cross_libs = $(abspath $(CROSS))/libs

cross_goals = $(addprefix check-cross-,$(filter-out $(ARCH),$(CROSS_ARCHS)))

check-cross: ## CROSS_T="layer …" for AArch64 and RISC-V, emulated
	$(Q)tools/dev/bootstrap cross
	$(Q)set -e; for arch in $(CROSS_ARCHS); do tools/dev/cross-libs $$arch $(cross_libs); done
	$(Q)$(MAKE) --no-print-directory -j2 -Otarget $(cross_goals)

$(addprefix check-cross-,$(CROSS_ARCHS)): check-cross-%:
	$(Q)tools/dev/bootstrap cross
	$(Q)tools/dev/cross-libs $* $(cross_libs)
	$(Q)PKG_CONFIG_LIBDIR=$(cross_libs)/$*/lib/pkgconfig EMULATOR='qemu-$* -L /usr/$*-linux-gnu' \
		CK_TIMEOUT_MULTIPLIER=$${CK_TIMEOUT_MULTIPLIER:-5} $(MAKE) --no-print-directory $(JOBS) \
		CC=$*-linux-gnu-gcc CXX=$*-linux-gnu-g++ AR=$*-linux-gnu-ar ARCH=$* B=$(CROSS)/$* \
		CPPFLAGS="-DNO_SQLITE $(CPPFLAGS)" PKG_sched= T="$(CROSS_T)" check-unit

# Compiled as one program the compiler sees through what keeps addresses of thread-local data apart.
# These runs are also those without membarrier, with which all others are.
check-lto: ## ctx and sched suites, optimised across files and without membarrier
	$(Q)THRUM_NO_MEMBARRIER=1 $(MAKE) --no-print-directory $(JOBS) VARIANT=lto B=$(call variant_dir,lto) T="ctx sched" check-unit

build-tests: all $(TEST_FILES) $(addprefix $(B)/fuzz/,$(FUZZERS))

check-e2e: all ## test/e2e against the programs
	$(Q)test/e2e/run --self-test
	$(Q)test/e2e/run $(B) $(VARIANT) $(ONLY)

check-layers: all ## the folders' order, held against what the compiler saw
	$(Q)tools/dev/check-layers --self-test
	$(Q)tools/dev/check-layers $(B) "$(THRUM_LAYERS)" "$(UPPER_LAYERS)"

check-headers: $(PROTO_H) ## every header compiles alone, the public ones also as C++
	$(Q)CC="$(CC)" CXX="$(CXX)" tools/dev/check-headers $(CPPFLAGS_ALL)

check-symbols: $(B)/libthrum.so ## exported = declared = documented
	$(Q)tools/dev/check-symbols --self-test
	$(Q)tools/dev/check-symbols $<

check-examples: $(addprefix $(B)/examples/,$(EXAMPLES)) ## test/examples against their golden output
	$(Q)tools/dev/run-examples $(B)/examples $(or $(ONLY),$(EXAMPLES))

check-install: all ## install, build against it, run, uninstall
	$(Q)CC="$(CC)" CXX="$(CXX)" test/install/run $(VERSION) $(MAKE) --no-print-directory VARIANT=$(VARIANT) B=$(B)

lint-man: $(PROGRAM_FILES) ## manuals: mandoc, cross references, examples, functions, options
	$(Q)CC="$(CC)" tools/dev/lint-man --self-test
	$(Q)CC="$(CC)" tools/dev/lint-man $(PROGRAM_FILES)

lint-sh: ## shellcheck on every script
	$(Q)tools/dev/lint-sh

bench: $(addprefix $(B)/bench/,$(BENCHES) sched) all ## test/bench, one after another
	$(Q)W='$(W)' ROUNDS='$(ROUNDS)' tools/dev/run-benches $(B) $(or $(ONLY),$(BENCHES) sched)

bench-peers: $(B)/bench/sched $(addprefix $(B)/peers/,$(PEERS)) ## the scheduler beside Go and Boost: ROUNDS=5 W="workload …"
	$(Q)W='$(W)' ROUNDS='$(ROUNDS)' tools/dev/bench-sched $(B) thrum $(PEERS)

fuzz: ## replay each fuzzer's corpus and mutate it, under ASan: FUZZ_RUNS=20000, THRUM_SEED=1
	$(Q)$(MAKE) --no-print-directory $(JOBS) VARIANT=asan B=$(call variant_dir,asan) run-fuzzers

run-fuzzers: $(addprefix $(B)/fuzz/,$(FUZZERS))
	$(Q)tools/dev/run-fuzzers $(B)/fuzz $(if $(ONLY),$(filter $(ONLY),$(FUZZERS)),$(FUZZERS))

demo: all ## the main job on a real tree; DIR=… picks it
	$(Q)B='$(B)' $(if $(DIR),DIR='$(DIR)') tools/dev/demo

# ---------------------------------------------------------------- install
# A page is found by each name it has: the further ones are symlinks.
MANUALS := $(sort $(wildcard man/*.[1-8]))
each_man_link = tools/dev/man-links $(MANUALS) | while read -r name page; do $(1); done
man_link := $(mandir)/man$${name\#\#*.}/$$name
HEADERS := $(sort $(wildcard include/thrum.h include/thrum/*.h))
dest = $(DESTDIR)$(1)

install: all ## under $(DESTDIR)$(prefix)
	$(Q)install -d $(call dest,$(bindir)) $(call dest,$(libdir))/pkgconfig $(call dest,$(includedir))/thrum
	$(Q)$(if $(PROGRAM_FILES),install -m 755 $(PROGRAM_FILES) $(call dest,$(bindir)))
	$(Q)install -m 644 $(B)/libthrum.a $(call dest,$(libdir))
	$(Q)install -m 755 $(B)/libthrum.so.$(VERSION) $(call dest,$(libdir))
	$(Q)ln -sf libthrum.so.$(VERSION) $(call dest,$(libdir))/libthrum.so.$(SOMAJOR)
	$(Q)ln -sf libthrum.so.$(SOMAJOR) $(call dest,$(libdir))/libthrum.so
	$(Q)sed -e 's|@prefix@|$(prefix)|' -e 's|@libdir@|$(libdir)|' -e 's|@includedir@|$(includedir)|' \
		-e 's|@VERSION@|$(VERSION)|' libthrum.pc.in > $(call dest,$(libdir))/pkgconfig/libthrum.pc
	$(Q)set -e; for h in $(HEADERS:include/%=%); do \
		install -m 644 include/$$h $(call dest,$(includedir))/$$h; done
	$(Q)set -e; for m in $(MANUALS); do \
		install -D -m 644 $$m $(call dest,$(mandir))/man$${m##*.}/$${m##*/}; done
	$(Q)$(call each_man_link,ln -sf $$page $(call dest,$(man_link)))

uninstall: ## what install put there
	$(Q)rm -f $(addprefix $(call dest,$(bindir))/,$(PROGRAMS)) $(addprefix $(call dest,$(libdir))/,libthrum.a \
		libthrum.so libthrum.so.$(SOMAJOR) libthrum.so.$(VERSION) pkgconfig/libthrum.pc) \
		$(addprefix $(call dest,$(includedir))/,$(HEADERS:include/%=%)) \
		$(foreach m,$(MANUALS),$(call dest,$(mandir))/man$(patsubst .%,%,$(suffix $(m)))/$(notdir $(m)))
	$(Q)$(call each_man_link,rm -f $(call dest,$(man_link)))
	$(Q)rmdir $(call dest,$(includedir))/thrum 2>/dev/null || true

# ---------------------------------------------------------------- release and tools
DIST := thrum-$(VERSION)
dist: ## a source archive of the last commit
	$(Q)mkdir -p $(B)
	$(Q)git archive --format=tar --prefix=$(DIST)/ HEAD | gzip -9n > $(B)/$(DIST).tar.gz
	@echo $(B)/$(DIST).tar.gz

distcheck: dist ## unpack the archive, build, test and install it, and find its sources untouched
	$(Q)tools/dev/distcheck $(B)/$(DIST).tar.gz $(MAKE) --no-print-directory $(JOBS)

compdb: ## compile_commands.json for editors
	$(Q)$(MAKE) --no-print-directory -nB V=1 B=$(B) build-tests 2>/dev/null | tools/dev/compdb > compile_commands.json

clean: ## remove what was built
	$(Q)rm -rf $(if $(filter build/%,$(B)),build,$(B))

help: ## this list
	@echo 'make [VARIANT=release|asan|tsan|lto] [T="layer …"] [ONLY="name …"] [V=1] TARGET'
	@sed -n 's/^\([a-z][a-z0-9 -]*\):.*## \(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS="$$(printf '\t')" read -r t h; do printf '  %-22s %s\n' "$$t" "$$h"; done

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: all bench bench-peers check check-asan check-cross build-tests check-e2e check-examples check-headers check-install check-layers \
	check-lto check-symbols check-tsan check-unit clean compdb demo dist distcheck fuzz help install lint-man lint-sh run-fuzzers \
	uninstall
