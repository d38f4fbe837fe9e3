# Builds, checks and installs dot-proxy. `make help' lists the targets.

VERSION	:= 1.0.0
PREFIX	?= /usr/local
UNITDIR	?= $(PREFIX)/lib/systemd/system
MANDIR	?= $(PREFIX)/share/man
SECONDS	?= 60
TESTS	?= tests/blackbox
CACHE	?= off
VARIANT	?= release

ifeq ($(origin CC),default)
CC := gcc
endif
# The interpreter of the distribution: `make deps' installs its packages.
PYTHON	?= /usr/bin/python3

# Each compiler and each variant has its own build tree, so that objects never mix:
#   release  the installed program
#   strict   release, with warnings as errors
#   san      AddressSanitizer and UndefinedBehaviorSanitizer, with warnings as errors
#   fuzz     san for libFuzzer; needs clang
#   tsan     ThreadSanitizer, for `make threads'
#   hooked   strict, with test hooks that no release may contain
#   static   one static file, for the container image
B := build/$(notdir $(firstword $(CC)))-$(VARIANT)

# A flag, if the compiler knows it.
knows = $(shell $(CC) -Werror $(1) -fsyntax-only -x c /dev/null 2>/dev/null && echo '$(1)')

LIBRARIES := libssl libcrypto yaml-0.1
WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wundef -Wvla -Wwrite-strings \
	-Wpointer-arith $(call knows,-Warith-conversion) $(call knows,-Wduplicated-cond) \
	$(call knows,-Wlogical-op)

HARDENED := -O2 -g -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 \
	$(call knows,-fstack-clash-protection) $(call knows,-fcf-protection)
HARDENED_LINK := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
# The linker warns that dlopen, getaddrinfo and gethostbyname would load shared objects. OpenSSL
# calls them for its modules and for host names. dot-proxy uses neither: the default provider is
# in libcrypto.a, and names are not looked up. The prefix map keeps the build reproducible.
STATIC	:= -ffile-prefix-map=$(CURDIR)=.
STATIC_LINK := -static-pie -Wl,-z,relro,-z,now,-z,noexecstack
SANITIZED := -Werror -O1 -g -fno-omit-frame-pointer -fno-sanitize-recover=all \
	-fsanitize=address,undefined

ifeq ($(VARIANT),release)
MODE	:= $(HARDENED)
MODE_LINK := $(HARDENED_LINK)
else ifeq ($(VARIANT),strict)
MODE	:= -Werror $(HARDENED)
MODE_LINK := $(HARDENED_LINK)
else ifeq ($(VARIANT),san)
MODE	:= $(SANITIZED)
MODE_LINK := -fsanitize=address,undefined
else ifeq ($(VARIANT),fuzz)
MODE	:= $(SANITIZED) -fsanitize=fuzzer-no-link
MODE_LINK := -fsanitize=address,undefined
else ifeq ($(VARIANT),tsan)
MODE	:= -Werror -O1 -g -fno-omit-frame-pointer -fsanitize=thread $(call knows,-Wno-tsan)
MODE_LINK := -fsanitize=thread
else ifeq ($(VARIANT),hooked)
MODE	:= -Werror $(HARDENED) -DDOTPROXY_TEST_HOOKS
MODE_LINK := $(HARDENED_LINK)
else ifeq ($(VARIANT),static)
MODE	:= $(HARDENED) $(STATIC)
MODE_LINK := $(STATIC_LINK)
else
$(error VARIANT is one of release, strict, san, fuzz, tsan, hooked, static)
endif

LANGUAGE := -std=c11 -D_GNU_SOURCE -DDOTPROXY_VERSION='"$(VERSION)"' -iquote include

# The user's flags come last, so that they win.
COMPILE := $(CC) $(LANGUAGE) $(WARNINGS) $(MODE) \
	$(shell pkg-config --cflags $(LIBRARIES) 2>/dev/null) $(CPPFLAGS) $(CFLAGS)
LINK	:= $(CC) $(MODE_LINK) $(CFLAGS) $(LDFLAGS)
LIBS := $(shell pkg-config $(if $(filter static,$(VARIANT)),--static) --libs $(LIBRARIES) \
	2>/dev/null) $(LDLIBS)

SOURCES	:= $(sort $(wildcard src/*/*.c))
MODULES	:= $(filter-out $(B)/src/command/main.o,$(SOURCES:%.c=$(B)/%.o))
UNITS	:= $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
BENCH_PROGRAMS := bare client upstream
TARGETS	:= $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
PROGRAM	:= $(wildcard include/*/*.h src/*/*.[ch])

# A sanitizer's error must not look like an exit status of the program.
export ASAN_OPTIONS ?= exitcode=99:detect_stack_use_after_return=1
export UBSAN_OPTIONS ?= print_stacktrace=1

.PHONY: all demo run check test unit threads blackbox container replay fuzz bench benchmark benchcache \
	benchroute lint tidy layers layout format docs deps install install-units uninstall clean help program units \
	replays fuzzers FORCE
.DELETE_ON_ERROR:
.SECONDARY:
# V=1 shows the commands.
$(V).SILENT:

all: program		## build build/dot-proxy (the default; CC, CFLAGS, LDFLAGS as usual)
	ln -f $(B)/dot-proxy build/dot-proxy

program: $(B)/dot-proxy

$(B)/dot-proxy: $(B)/src/command/main.o $(B)/modules.a $(B)/flags
	echo '  LINK $@'
	$(LINK) -o $@ $(filter %.o %.a,$^) $(LIBS)

$(B)/modules.a: $(MODULES)
	rm -f $@
	echo '  AR   $@'
	$(AR) rcs $@ $^

$(B)/%.o: %.c $(B)/flags
	mkdir -p $(@D)
	echo '  CC   $@'
	$(COMPILE) -MMD -MP -c -o $@ $<

# Changes when the flags change, so that everything is rebuilt.
quote = '$(subst ','\'',$(1))'
$(B)/flags: FORCE
	pkg-config --exists --print-errors $(LIBRARIES) || \
	    { echo 'A package needed for the build is missing (fix: make deps).' >&2; exit 1; }
	mkdir -p $(@D)
	printf '%s\n' $(call quote,$(COMPILE)) $(call quote,$(LINK) $(LIBS)) >$@.new
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

demo:			## send one query through dot-proxy to a TLS server, all on loopback
	tests/deps build demo
	$(MAKE) --no-print-directory all
	$(PYTHON) tests/demo.py

run: all		## serve config.yml on 127.0.0.1:5353
	build/dot-proxy -c config.yml -l 127.0.0.1:5353

# No root, no packages installed, no network but loopback.
check: export VARIANT := strict
check: layers layout	## run unit tests, layer and format checks: the fast loop while editing
	$(MAKE) --no-print-directory VARIANT=$(VARIANT) units
	$(MAKE) --no-print-directory VARIANT=$(VARIANT) unit >build/check.log 2>&1 || \
	    { cat build/check.log; exit 1; }
	echo "$$(grep -c '^\[       OK \]' build/check.log) unit tests passed; layers and format are right"

test: deps		## run all tests and lint, with gcc and clang; ends with the counts
	MAKE='$(MAKE)' $(PYTHON) tests/run

unit: units		## run unit tests; VARIANT=san for the sanitizers
	status=0; for t in $(UNITS); do $$t || status=1; done; exit $$status

# The program has no threads. Those of the test stand for processes.
threads:		## test the cache under ThreadSanitizer
	$(MAKE) --no-print-directory VARIANT=tsan unit UNITS='$$(B)/tests/unit/test_cache_threads'

units: $(UNITS)

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/modules.a $(B)/flags
	echo '  LINK $@'
	$(LINK) -o $@ $(filter %.o %.a,$^) -lcmocka $(LIBS)

blackbox: program	## test the program against scripted and real servers; TESTS=FILE for one file, CACHE=on
	DOT_PROXY=$(CURDIR)/$(B)/dot-proxy DOT_PROXY_TEST_CACHE=$(CACHE) \
	    $(PYTHON) -m pytest -q -n 4 $(TESTS)

container:		## test the image and the pods; needs a container engine ($DOCKER names it)
	$(PYTHON) -m pytest -q tests/container

replay: replays		## run every seed of the fuzz targets once; needs no clang
	status=0; for t in $(TARGETS); do \
	    $(B)/replay/$$t tests/fuzz/seeds/$${t#fuzz_}/* || status=1; done; exit $$status

replays: $(TARGETS:%=$(B)/replay/%)

$(B)/replay/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz/replay.o $(B)/modules.a $(B)/flags
	mkdir -p $(@D)
	echo '  LINK $@'
	$(LINK) -o $@ $(filter %.o %.a,$^) $(LIBS)

fuzz:			## run each fuzz target for SECONDS=60
	$(MAKE) --no-print-directory CC=clang VARIANT=fuzz fuzzers
	for t in $(TARGETS); do corpus=build/clang-fuzz/corpus/$$t; mkdir -p $$corpus; \
	    echo "$$t, $(SECONDS) s"; \
	    build/clang-fuzz/$$t -max_total_time=$(SECONDS) -timeout=10 -verbosity=0 \
	        -artifact_prefix=build/clang-fuzz/$$t- -print_final_stats=1 \
	        $$corpus tests/fuzz/seeds/$${t#fuzz_} || exit 1; done

fuzzers: $(TARGETS:%=$(B)/%)

$(TARGETS:%=$(B)/%): $(B)/%: $(B)/tests/fuzz/%.o $(B)/modules.a $(B)/flags
	echo '  LINK $@'
	$(LINK) -fsanitize=fuzzer -o $@ $(filter %.o %.a,$^) $(LIBS)

bench:			## measure, in comparison with other programs; QUICK=1, BENCH=-h for options
	tests/deps build bench
	$(MAKE) --no-print-directory benchmark

# Compares with those of the other programs that are installed.
benchmark: all $(BENCH_PROGRAMS:%=$(B)/tests/bench/%)
	DOT_PROXY=$(CURDIR)/$(B)/dot-proxy BENCH_PROGRAMS=$(CURDIR)/$(B)/tests/bench \
	    QUICK=$(QUICK) $(PYTHON) tests/bench/run $(BENCH)

benchcache: $(B)/tests/bench/cache	## measure the cache by itself
	$<

benchroute: $(B)/tests/bench/route	## measure the table of routes by itself
	$<

$(B)/tests/bench/cache $(B)/tests/bench/route: %: %.o $(B)/modules.a $(B)/flags
	echo '  LINK $@'
	$(LINK) -o $@ $(filter %.o %.a,$^) -lm $(LIBS)

$(B)/tests/bench/%: $(B)/tests/bench/%.o $(B)/flags
	echo '  LINK $@'
	$(LINK) -o $@ $(filter %.o,$^) $(LIBS)

lint: layers layout tidy	## check layers, format, man pages; run clang-tidy, cppcheck, shellcheck
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr \
	    $(CPPCHECK_SUPPRESS:%=--suppress=%) \
	    --error-exitcode=1 -D_GNU_SOURCE -Iinclude src
	shellcheck tests/deps .ci/run
	mandoc -T lint -W warning deploy/man/*

# False reports: cppcheck takes the operand of sizeof for a dereference, does not know that POSIX
# makes NULL a pointer, and sees no loop in TAILQ_FOREACH. The compilers check the same.
CPPCHECK_SUPPRESS := ctunullpointer ctuuninitvar uninitvar varFuncNullUB

tidy: $(patsubst %,build/tidy/%,$(wildcard src/*/*.c tests/*/*.c))

build/tidy/%: % .clang-tidy $(wildcard include/*/*.h src/*/*.h tests/*/*.h)
	mkdir -p $(@D)
	echo '  TIDY $<'
	clang-tidy --quiet $< -- $(LANGUAGE) 2>$@.err || { cat $@.err; exit 1; }
	touch $@

layers:
	tests/layers

# Not the tests: their tables are aligned by hand.
layout:
	if command -v clang-format >/dev/null; then clang-format --dry-run -Werror $(PROGRAM); \
	    else echo 'clang-format is missing: format not checked (fix: make deps)' >&2; fi

format:			## format the C sources with clang-format
	clang-format -i $(PROGRAM)

docs: all		## write what the documents say about keys, from `dot-proxy schema'
	$(PYTHON) tests/docs

deps:			## install the packages for building and testing (Debian, Ubuntu; uses sudo)
	tests/deps

install: all install-units	## install into $(DESTDIR)$(PREFIX), systemd units into $(DESTDIR)$(UNITDIR)
	install -D -m 755 $(B)/dot-proxy $(DESTDIR)$(PREFIX)/bin/dot-proxy
	install -D -m 644 config.yml $(DESTDIR)$(PREFIX)/share/doc/dot-proxy/config.yml
	install -D -m 644 deploy/man/dot-proxy.8 $(DESTDIR)$(MANDIR)/man8/dot-proxy.8
	install -D -m 644 deploy/man/dot-proxy.yml.5 $(DESTDIR)$(MANDIR)/man5/dot-proxy.yml.5

SYSTEMD_UNITS := dot-proxy.service dot-proxy.socket

install-units:
	mkdir -p $(DESTDIR)$(UNITDIR)
	for unit in $(SYSTEMD_UNITS); do \
	    sed 's,/usr/local/bin/,$(PREFIX)/bin/,' deploy/systemd/$$unit \
	        >$(DESTDIR)$(UNITDIR)/$$unit || exit 1; \
	    chmod 644 $(DESTDIR)$(UNITDIR)/$$unit || exit 1; done

uninstall:		## remove installed files
	rm -f $(DESTDIR)$(PREFIX)/bin/dot-proxy
	rm -f $(SYSTEMD_UNITS:%=$(DESTDIR)$(UNITDIR)/%)
	rm -f $(DESTDIR)$(PREFIX)/share/doc/dot-proxy/config.yml
	rm -f $(DESTDIR)$(MANDIR)/man8/dot-proxy.8 $(DESTDIR)$(MANDIR)/man5/dot-proxy.yml.5

clean:			## remove the build directory
	rm -rf build

help:			## print this list
	sed -n 's/^\([a-z]*\):[^#]*## /\1	/p' $(firstword $(MAKEFILE_LIST))

-include $(wildcard $(B)/*/*/*.d)
