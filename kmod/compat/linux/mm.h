/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Before 6.3 flags of an area were changed directly; before 6.10 the mm had a pointer to
 * what finds it a place, and before 6.19 that was told the mm.
 */
#include_next <linux/mm.h>

#ifndef _BLIPMQ_COMPAT_MM_H
#define _BLIPMQ_COMPAT_MM_H

#include <linux/sched/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 10, 0)
static inline unsigned long
bmq_mm_get_unmapped_area(struct file *file, unsigned long address, unsigned long len,
			 unsigned long pgoff, unsigned long flags)
{
	return current->mm->get_unmapped_area(file, address, len, pgoff, flags);
}

#define mm_get_unmapped_area	bmq_mm_get_unmapped_area
#elif LINUX_VERSION_CODE < KERNEL_VERSION(6, 19, 0)
#define mm_get_unmapped_area(file, address, len, pgoff, flags) \
	mm_get_unmapped_area(current->mm, file, address, len, pgoff, flags)
#endif

#endif /* _BLIPMQ_COMPAT_MM_H */
