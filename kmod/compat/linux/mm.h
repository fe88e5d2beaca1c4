/* SPDX-License-Identifier: GPL-2.0 */
/* Before 6.3 flags of an area were changed directly. */
#include_next <linux/mm.h>

#ifndef _BLIPMQ_COMPAT_MM_H
#define _BLIPMQ_COMPAT_MM_H

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

#endif /* _BLIPMQ_COMPAT_MM_H */
