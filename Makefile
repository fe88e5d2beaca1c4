# SPDX-License-Identifier: GPL-2.0
#
# BlipMQ, everything but the rules of the module itself, which are in Kbuild.
# Output goes to build/ (O=DIR for another place). V=1 shows the commands.

MAKEFLAGS	+= --no-print-directory

O		?= build
override O	:= $(abspath $(O))
export O

PREFIX		?= /usr/local
KDIR		?= /lib/modules/$(shell uname -r)/build

ifneq ($(V),1)
Q		:= @
endif

PROGRAMS	:= libclient tools/blipmq examples tests/selftests tests/unit tests/bench
# Until each of them is there.
PROGRAMS	:= $(patsubst %/Makefile,%,$(wildcard $(PROGRAMS:=/Makefile)))

.PHONY: all
all: $(PROGRAMS)	## library, command line tool and the tests' programs

.PHONY: $(PROGRAMS)
$(PROGRAMS):
	$(Q)$(MAKE) -C $@ O=$(O) PREFIX=$(PREFIX)

# All of these link with the library.
$(filter-out libclient tests/unit,$(PROGRAMS)): $(filter libclient,$(PROGRAMS))

# The sources are built through links below $(O): kernels before 6.13 write their
# objects beside the sources, whatever they are told.
MODULE		:= $(O)/module

.PHONY: module module_install
module:	## blipmq.ko for the running kernel, or that of KDIR=DIR
	$(Q)mkdir -p $(MODULE)
	$(Q)find $(MODULE) -type l -delete
	$(Q)cp -as $(CURDIR)/Kbuild $(CURDIR)/kmod $(CURDIR)/uapi $(MODULE)
	$(Q)$(MAKE) -C $(KDIR) M=$(MODULE) modules

module_install: module	## install it below DESTDIR, run depmod
	$(Q)$(MAKE) -C $(KDIR) M=$(MODULE) INSTALL_MOD_PATH=$(DESTDIR) modules_install

.PHONY: clean
clean:	## remove everything that was built
	$(Q)rm -rf $(O)

.PHONY: help
help:	## this list
	$(Q)sed -nE 's/^([a-z_-]+):[^#]*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'
