// SPDX-License-Identifier: GPL-2.0
/* Memory of the kernel, in user space: counted, and failing when told. */

long shim_allocated;
long shim_fail_in = -1;
unsigned long jiffies;

static bool fails(void)
{
	if (shim_fail_in < 0)
		return false;
	return shim_fail_in-- == 0;
}

void *shim_alloc(size_t size)
{
	void *mem = fails() ? NULL : calloc(1, size);

	if (mem)
		__atomic_add_fetch(&shim_allocated, 1, __ATOMIC_RELAXED);
	return mem;
}

void shim_free(void *mem)
{
	if (mem)
		__atomic_sub_fetch(&shim_allocated, 1, __ATOMIC_RELAXED);
	free(mem);
}

struct page *shim_page(void)
{
	struct page *page;
	void *mem;

	if (fails() || posix_memalign(&mem, PAGE_SIZE, PAGE_SIZE + sizeof(*page)))
		return NULL;
	memset(mem, 0, PAGE_SIZE);
	page = virt_to_page(mem);
	page->refs = 1;
	__atomic_add_fetch(&shim_allocated, 1, __ATOMIC_RELAXED);
	return page;
}

void put_page(struct page *page)
{
	assert(page->refs == 1);
	page->refs = 0;
	__atomic_sub_fetch(&shim_allocated, 1, __ATOMIC_RELAXED);
	free(page_address(page));
}
