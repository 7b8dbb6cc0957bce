# thrum and replicad. GNU make, non-recursive. `make help` lists the targets.
# Variants: VARIANT=release (default), asan (ASan+UBSan), tsan. V=1 shows commands.

VARIANT ?= release
VERSION := 0.1.0
SOMAJOR := 0
prefix ?= /usr/local
B := build/$(VARIANT)

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

# ---------------------------------------------------------------- layers and sources
# One list per layer, sorted. A layer may include only from layers to its left; the table is
# also what tools/dev/check-layers reads.

THRUM_LAYERS := base ctx time sched reactor sync chan future io
UPPER_LAYERS := delta noise grpc rpc replica
LAYERS := $(THRUM_LAYERS) $(UPPER_LAYERS)

SRC_base    := buf.c check.c clock.c error.c lock.c log.c
SRC_ctx     :=
SRC_time    :=
SRC_sched   :=
SRC_reactor :=
SRC_sync    :=
SRC_chan    :=
SRC_future  :=
SRC_io      :=
SRC_delta   :=
SRC_noise   :=
SRC_grpc    :=
SRC_rpc     :=
SRC_replica :=

ARCH ?= $(shell $(CC) -dumpmachine | sed 's/-.*//')
ASM_ctx := $(sort $(wildcard asm/$(ARCH)/*.S))

# Protocol definitions: compiled into $(B)/gen and linked with the layer that owns them.
PROTO_rpc     :=
PROTO_replica :=

# Tests mirror src: test/<layer>/<file>; each file exports `Suite *suite_<file without test_>(void)`.
TEST_base    := test_buf.c test_log.c
TEST_ctx     :=
TEST_time    :=
TEST_sched   :=
TEST_reactor :=
TEST_sync    :=
TEST_chan    :=
TEST_future  :=
TEST_io      :=
TEST_delta   :=
TEST_noise   :=
TEST_grpc    :=
TEST_rpc     :=
TEST_replica :=

# What a layer's test binary links besides itself. Every thrum layer's test links the whole libthrum.
NEEDS_delta   := base
NEEDS_noise   := base
NEEDS_grpc    := base
NEEDS_rpc     := grpc noise $(THRUM_LAYERS)
NEEDS_replica := rpc grpc noise delta $(THRUM_LAYERS)
PKG_thrum     := libuv
PKG_delta     := libsodium
PKG_noise     := libsodium
PKG_grpc      := libnghttp2 zlib
PKG_rpc       := libnghttp2 zlib libsodium libprotobuf-c libuv
PKG_replica   := $(PKG_rpc) sqlite3 libzstd

# Programs: every .c in tools/<program>; linked with everything.
PROGRAMS :=
PRG_rdelta   :=
PRG_replica  :=
PRG_replicad :=
PKG_programs := $(PKG_replica) inih jansson

# ---------------------------------------------------------------- flags
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wvla -Wundef -Wformat=2 -Wno-unused-parameter -Werror
CPPFLAGS_ALL := -Iinclude -Isrc -I$(B)/gen -D_GNU_SOURCE -DTHRUM_VERSION='"$(VERSION)"'
CFLAGS_ALL := -std=gnu11 -O2 -g -fPIC -fvisibility=hidden -fno-omit-frame-pointer \
	-ftls-model=initial-exec -pthread $(WARN)
LDFLAGS_ALL := -pthread

ifeq ($(VARIANT),asan)
CFLAGS_ALL += -fsanitize=address,undefined -fno-sanitize-recover=undefined -DTHRUM_DEBUG=1
LDFLAGS_ALL += -fsanitize=address,undefined
else ifeq ($(VARIANT),tsan)
CFLAGS_ALL += -fsanitize=thread -DTHRUM_DEBUG=1
LDFLAGS_ALL += -fsanitize=thread
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
obj = $(patsubst %.c,$(B)/%.o,$(patsubst %.S,$(B)/%.o,$(1)))
layer_obj = $(call obj,$(addprefix src/$(1)/,$(SRC_$(1))) $(ASM_$(1))) \
	$(patsubst %.proto,$(B)/gen/%.pb-c.o,$(PROTO_$(1)))
THRUM_OBJ := $(foreach l,$(THRUM_LAYERS),$(call layer_obj,$(l)))

$(B)/%.o: %.c $(STAMP)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(COMPILE_FLAGS) -MMD -MP -c $< -o $@

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
$(B)/libthrum.a: $(THRUM_OBJ)
	$(say) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/libthrum.so.$(VERSION): $(THRUM_OBJ) src/libthrum.map
	$(say) LD $@
	$(Q)$(CC) -shared $(LDFLAGS_ALL) $(LDFLAGS) -Wl,-soname,libthrum.so.$(SOMAJOR) \
		-Wl,--version-script=src/libthrum.map -Wl,-z,defs -o $@ $(THRUM_OBJ) $(call pkg_libs,$(PKG_thrum))

# ---------------------------------------------------------------- tests: one binary per layer
define TEST_rules
$(B)/gen/test_$(1)_main.c: Makefile
	@mkdir -p $$(@D)
	$$(Q)tools/dev/gen-test-main $(1) $(TEST_$(1)) > $$@

$(B)/test/$(1)/run: $(B)/gen/test_$(1)_main.o $(call obj,$(addprefix test/$(1)/,$(TEST_$(1)))) \
		$(if $(filter $(1),$(THRUM_LAYERS)),,$(call layer_obj,$(1))) \
		$(foreach n,$(if $(filter $(1),$(THRUM_LAYERS)),$(THRUM_LAYERS),$(NEEDS_$(1))),$(call layer_obj,$(n)))
	$$(say) LD $$@
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$(LDFLAGS) -o $$@ $$^ \
		$$(call pkg_libs,check $(if $(filter $(1),$(THRUM_LAYERS)),$(PKG_thrum),$(PKG_$(1))))
endef
TESTED_LAYERS := $(foreach l,$(LAYERS),$(if $(TEST_$(l)),$(l)))
$(foreach l,$(TESTED_LAYERS),$(eval $(call TEST_rules,$(l))))

# T=layer[s] picks suites: make check-unit T="sched chan"
T ?= $(TESTED_LAYERS)
check-unit: $(foreach l,$(T),$(B)/test/$(l)/run)
	$(Q)tools/dev/run-tests $(VARIANT) $^

# ---------------------------------------------------------------- programs
define PROGRAM_rules
$(B)/$(1): $(call obj,$(PRG_$(1))) $(foreach l,$(UPPER_LAYERS),$(call layer_obj,$(l))) $(B)/libthrum.a
	$$(say) LD $$@
	$$(Q)$$(CC) $$(LDFLAGS_ALL) $$(LDFLAGS) -o $$@ $$^ $$(call pkg_libs,$(PKG_programs))
endef
$(foreach p,$(PROGRAMS),$(eval $(call PROGRAM_rules,$(p))))

all: $(B)/libthrum.a $(foreach p,$(PROGRAMS),$(B)/$(p))

clean:
	$(Q)rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)

.PHONY: all check-unit clean
