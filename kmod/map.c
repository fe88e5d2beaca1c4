// SPDX-License-Identifier: GPL-2.0
/*
 * Mappings: the ring and the store read only, the control page read and write.
 *
 * All are ordinary pages with a reference for each page table entry, so a page
 * outlives its run, ring or module as long as somebody maps it. Nothing is counted
 * for a mapping but that a file has one of the store. The pages of a ring are
 * inserted when it is mapped, those of the store by faults: the one touched, then
 * what follows of its run. All files of a bus share the address space of the bus's
 * inode, so that one zap reaches every process. A right that is taken away is found
 * missing by the faults that follow the zap.
 */
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>

#include "map.h"

#define FAULT_AROUND	512	/* pages of a run inserted by one fault */

static struct bmq_endpoint *ep_of(const struct vm_area_struct *vma)
{
	return vma->vm_file->private_data;
}

static unsigned long store_page(const struct bmq_store *store, pgoff_t pgoff)
{
	return pgoff - (BLIPMQ_OFF_STORE >> PAGE_SHIFT);
}

/* Insert what follows of the run; what is mapped already ends it, not the fault. */
static void fault_around(struct vm_area_struct *vma, unsigned long address,
			 struct bmq_run *run, unsigned long at)
{
	unsigned long nr = min_t(unsigned long, run->nr - at, FAULT_AROUND);

	nr = min(nr, (vma->vm_end - address) >> PAGE_SHIFT);
	if (nr)
		vm_insert_pages(vma, address, &run->pages[at], &nr);
}

static vm_fault_t store_fault_locked(struct vm_fault *vmf, struct bmq_store *store,
				     unsigned long index)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long address = vmf->address & PAGE_MASK;
	struct bmq_run *run = store->slot[index];
	int err;

	if (!run)
		return VM_FAULT_SIGBUS;
	err = vm_insert_page(vma, address, run->pages[index - run->first]);
	if (err == -EBUSY) {
		/* Another thread was faster, unless a stale marker is in the way. */
		if ((vmf->flags & FAULT_FLAG_ORIG_PTE_VALID) &&
		    !pte_none(vmf->orig_pte))
			return VM_FAULT_SIGBUS;
		return VM_FAULT_NOPAGE;
	}
	if (err)
		return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
	fault_around(vma, address + PAGE_SIZE, run, index - run->first + 1);
	return VM_FAULT_NOPAGE;
}

static vm_fault_t store_fault(struct vm_fault *vmf)
{
	struct bmq_endpoint *ep = ep_of(vmf->vma);
	struct bmq_bus *bus = ep->bus;
	struct bmq_store *store = &bus->store;
	unsigned long index = store_page(store, vmf->pgoff);
	vm_fault_t ret = VM_FAULT_SIGBUS;

	down_read(&store->map_sem);
	if (index < store->max && !bus->dead &&
	    (READ_ONCE(ep->rights) & BLIPMQ_RIGHT_MAP))
		ret = store_fault_locked(vmf, store, index);
	up_read(&store->map_sem);
	return ret;
}

/* Whole or not at all: a file's store mapping is one area. */
static int map_may_split(struct vm_area_struct *vma, unsigned long address)
{
	return -EINVAL;
}

/* It moved, or the user had it inherited all the same: two areas for a while. */
static void store_open(struct vm_area_struct *vma)
{
	atomic_inc(&ep_of(vma)->store_maps);
}

static void store_close(struct vm_area_struct *vma)
{
	atomic_dec(&ep_of(vma)->store_maps);
}

static const struct vm_operations_struct store_vm_ops = {
	.fault = store_fault,
	.may_split = map_may_split,
	.open = store_open,
	.close = store_close,
};

/* No fault handler: what was zapped is SIGBUS. */
static const struct vm_operations_struct ring_vm_ops = {
	.may_split = map_may_split,
};

/* The same for all: shared, never executable, not inherited, of fixed size. */
static int map_check(struct vm_area_struct *vma, u64 size, bool writable)
{
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_end - vma->vm_start != size)
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	if ((vma->vm_flags & VM_WRITE) && !writable)
		return -EACCES;
	vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP);
	vm_flags_clear(vma, VM_MAYEXEC | (writable ? 0 : VM_MAYWRITE));
	return 0;
}

static int map_ring(struct bmq_ring *ring, struct vm_area_struct *vma)
{
	unsigned long nr = ring->nr_pages;
	int err = map_check(vma, (u64)nr << PAGE_SHIFT, false);

	if (err)
		return err;
	vma->vm_ops = &ring_vm_ops;
	return vm_insert_pages(vma, vma->vm_start, ring->pages, &nr);
}

/* Who maps the control page consumes the ring from now on. */
static int map_control(struct bmq_ring *ring, struct vm_area_struct *vma)
{
	int err = map_check(vma, PAGE_SIZE, true);

	if (err)
		return err;
	err = bmq_ring_set_mode(ring, BMQ_RING_MAPPED);
	if (err)
		return err;
	vma->vm_ops = &ring_vm_ops;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(ring->control));
}

static int map_store(struct bmq_endpoint *ep, struct vm_area_struct *vma)
{
	int err;

	if (!(READ_ONCE(ep->rights) & BLIPMQ_RIGHT_MAP)) {
		bmq_bus_event(ep->bus, BLIPMQ_EVENT_DENIED);
		return -EACCES;
	}
	err = map_check(vma, (u64)ep->bus->store.max << PAGE_SHIFT, false);
	if (err)
		return err;
	if (atomic_cmpxchg(&ep->store_maps, 0, 1))
		return -EBUSY;
	vma->vm_ops = &store_vm_ops;
	return 0;
}

/**
 * bmq_map_area() - mmap(2) looks for a place
 * @ep:      the file's
 * @file:    to be mapped
 * @address: where to, or a hint
 * @len:     bytes
 * @pgoff:   of the file, in pages
 * @flags:   MAP_*
 *
 * After this, and before bmq_map(), the kernel counts a writable mapping in the file's
 * f_mapping, and takes that back at the end. BIND in between would have it taken back
 * from the bus, which would refuse everybody's mappings when the count is negative.
 *
 * Return: the address, or a negative errno; -ENXIO: no bus yet.
 */
unsigned long bmq_map_area(struct bmq_endpoint *ep, struct file *file,
			   unsigned long address, unsigned long len, unsigned long pgoff,
			   unsigned long flags)
{
	if (!bmq_endpoint_bus(ep))
		return -ENXIO;
	return mm_get_unmapped_area(file, address, len, pgoff, flags);
}

/**
 * bmq_map() - mmap(2)
 * @ep:  the file's
 * @vma: the area
 *
 * Return: 0; -ENXIO: no ring; -ENODEV: the namespace is gone; -EINVAL:
 * private, wrong offset or size; -EACCES: writable, executable, opened for reading
 * only, or no right; -EBUSY: a second mapping of the store, or a ring that is
 * consumed by read(2).
 */
int bmq_map(struct bmq_endpoint *ep, struct vm_area_struct *vma)
{
	struct bmq_ring *ring = bmq_endpoint_ring_of(ep);
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;

	if (READ_ONCE(ep->bus->dead))
		return -ENODEV;
	if (offset == BLIPMQ_OFF_STORE)
		return map_store(ep, vma);
	if (offset != BLIPMQ_OFF_RING && offset != BLIPMQ_OFF_CONTROL)
		return -EINVAL;
	if (!ring)
		return -ENXIO;
	if ((vma->vm_file->f_mode & (FMODE_READ | FMODE_WRITE)) !=
	    (FMODE_READ | FMODE_WRITE))
		return -EACCES;
	return offset == BLIPMQ_OFF_RING ? map_ring(ring, vma) :
					   map_control(ring, vma);
}

/* Unmap pages of the store everywhere. The caller holds map_sem for write. */
void bmq_map_zap(struct bmq_store *store, unsigned long first, unsigned long nr)
{
	struct bmq_bus *bus = container_of(store, struct bmq_bus, store);

	lockdep_assert_held_write(&store->map_sem);
	unmap_mapping_range(bus->inode->i_mapping,
			    BLIPMQ_OFF_STORE + ((loff_t)first << PAGE_SHIFT),
			    (loff_t)nr << PAGE_SHIFT, 1);
}

/* The bus is dead: unmap everything; faults find it dead from now on. */
void bmq_map_zap_all(struct bmq_bus *bus)
{
	down_write(&bus->store.map_sem);
	unmap_mapping_range(bus->inode->i_mapping, 0, 0, 1);
	up_write(&bus->store.map_sem);
}
