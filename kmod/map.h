/* SPDX-License-Identifier: GPL-2.0 */
/* Mappings of rings, control pages and stores. */
#ifndef _BLIPMQ_MAP_H
#define _BLIPMQ_MAP_H

#include "endpoint.h"

unsigned long bmq_map_area(struct bmq_endpoint *ep, struct file *file,
			   unsigned long address, unsigned long len, unsigned long pgoff,
			   unsigned long flags);
int bmq_map(struct bmq_endpoint *ep, struct vm_area_struct *vma);
void bmq_map_zap(struct bmq_store *store, unsigned long first, unsigned long nr);
void bmq_map_zap_all(struct bmq_bus *bus);

#endif /* _BLIPMQ_MAP_H */
