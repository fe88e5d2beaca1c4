# SPDX-License-Identifier: GPL-2.0
#
# BlipMQ, everything but the rules of the module itself, which are in Kbuild.
# Output goes to build/ (O=DIR for another place). V=1 shows the commands.

MAKEFLAGS	+= --no-print-directory

# An O of the command line would go on to every other make as it was written, and with more
# weight: relative to another directory, and to a kernel's as the place of its build.
O		?= build
override O	:= $(abspath $(O))
MAKEOVERRIDES	:= $(filter-out O=%,$(MAKEOVERRIDES))
export O

PREFIX		?= /usr/local
KDIR		?= /lib/modules/$(shell uname -r)/build
HOURS		?= 1
export PREFIX

ifneq ($(V),1)
Q		:= @
endif

PARTS		:= libclient tools/blipmq examples tests/selftests tests/unit tests/bench tests/demo

.PHONY: all
all: $(PARTS)	## library, command line tool and the tests' programs

.PHONY: $(PARTS)
$(PARTS):
	$(Q)$(MAKE) -C $@

# All of these link with the library.
$(filter-out libclient tests/unit,$(PARTS)): libclient

# The sources are built through links below $(O): kernels before 6.13 write their
# objects beside the sources, whatever they are told.
MODULE		:= $(O)/module

.PHONY: module
module:	## blipmq.ko for the running kernel, or for that of KDIR=DIR
	$(Q)mkdir -p $(MODULE)
	$(Q)find $(MODULE) -type l -delete
	$(Q)cp -as $(CURDIR)/Kbuild $(CURDIR)/kmod $(CURDIR)/uapi $(MODULE)
	$(Q)$(MAKE) -C $(KDIR) M=$(MODULE) modules

.PHONY: demo
demo:	## see it: one program sends a text to eight others, through a guest's kernel
	$(Q)tests/demo/run

.PHONY: check
check:	## test everything; STAGES="unit 6.1" for some of it
	$(Q)tests/check/run $(STAGES)

.PHONY: soak
soak:	## the selftests, their timed cases for HOURS=1 together, on STAGES="6.12 debug"
	$(Q)SOAK=$(HOURS) tests/check/run $(or $(STAGES),6.12 debug)

.PHONY: lint
lint:	## look for mistakes without running anything
	$(Q)tests/lint/run $(CHECKS)

.PHONY: bench-quick
bench-quick: tests/bench	## BlipMQ beside a shared-memory ring and sockets, 3 minutes
	$(Q)tests/bench/quick

.PHONY: vm
vm: libclient tools/blipmq	## a shell in a guest, with the module and the tool
	$(Q)tests/vm/run

COMPLETIONS	= $(DESTDIR)$(PREFIX)/share/bash-completion/completions

.PHONY: install
install: libclient tools/blipmq	## library, headers, tool, completion; PREFIX, DESTDIR
	$(Q)$(MAKE) -C libclient install
	$(Q)install -D -m 755 $(O)/bin/blipmq $(DESTDIR)$(PREFIX)/bin/blipmq
	$(Q)install -D -m 644 tools/blipmq/completion.bash $(COMPLETIONS)/blipmq

.PHONY: uninstall
uninstall:	## remove what install put there
	$(Q)$(MAKE) -C libclient uninstall
	$(Q)rm -f $(DESTDIR)$(PREFIX)/bin/blipmq $(COMPLETIONS)/blipmq

.PHONY: module_install
module_install: module	## the module, below DESTDIR/lib/modules
	$(Q)$(MAKE) -C $(KDIR) M=$(MODULE) INSTALL_MOD_PATH=$(DESTDIR) modules_install

.PHONY: clean
clean:	## remove what was built
	$(Q)cd $(O) 2>/dev/null && rm -rf bench bin check ci demo examples kmod lib libclient \
		lint module selftests tools unit || true

.PHONY: help
help:	## this list
	$(Q)awk -F ':[^#]*## ' '/^[a-z_-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))
