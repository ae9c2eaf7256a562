/*
 * Survives peers that truncate a file we have mapped.
 *
 * Touching a page behind the end of a file raises SIGBUS, in native code and in compiled JavaScript alike, and would end
 * the process. Ranges registered here get anonymous zero pages instead, and a mark that the session's owner checks: the
 * design of Wayland's wl_shm. It costs nothing until a file is truncated.
 *
 * The handler may run on any thread at any moment, so it uses atomics and mmap(2) only.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

enum { MAX_RANGES = 8192 }; /* 64 guests with 64 memory slots, and room */
enum { INTACT, REPLACING, REPLACED };

struct range {
	atomic_uintptr_t address; /* 0: the entry is free */
	atomic_size_t length;
	atomic_int state;
};

static struct range ranges[MAX_RANGES];
static atomic_uint hits;
static atomic_flag writers = ATOMIC_FLAG_INIT;
static int installed;
static struct sigaction previous;

static struct range *find(uintptr_t address)
{
	for (int i = 0; i < MAX_RANGES; i++) {
		uintptr_t start = atomic_load(&ranges[i].address);
		size_t length = atomic_load(&ranges[i].length);
		if (start == 0 || address < start || address - start >= length)
			continue;
		if (atomic_load(&ranges[i].address) == start) /* else: freed while we looked */
			return &ranges[i];
	}
	return NULL;
}

/* A mapping of hugepages can only be replaced in whole hugepages; anything else fails with EINVAL. */
static int replace(uintptr_t start, size_t length)
{
	static const size_t page_sizes[] = { 4096, (size_t)2 << 20, (size_t)1 << 30 };
	for (size_t i = 0; i < sizeof page_sizes / sizeof *page_sizes; i++) {
		uintptr_t mask = page_sizes[i] - 1;
		uintptr_t from = start & ~mask, to = (start + length + mask) & ~mask;
		if (mmap((void *)from, to - from, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED)
			return 1;
		if (errno != EINVAL)
			break;
	}
	return 0;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
	if (previous.sa_flags & SA_SIGINFO) {
		previous.sa_sigaction(number, info, context);
	} else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
		previous.sa_handler(number);
	} else {
		/* the faulting instruction runs again, and the default action ends the process with the right signal */
		signal(number, SIG_DFL);
	}
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int saved = errno;
	struct range *range = info->si_code == BUS_ADRERR ? find((uintptr_t)info->si_addr) : NULL;
	int intact = INTACT;

	if (range == NULL) {
		pass_on(number, info, context);
	} else if (atomic_compare_exchange_strong(&range->state, &intact, REPLACING)) {
		if (replace(atomic_load(&range->address), atomic_load(&range->length))) {
			atomic_store(&range->state, REPLACED);
			atomic_fetch_add(&hits, 1);
		} else
			pass_on(number, info, context);
	} /* else another thread is replacing the mapping, or has done so: the access is retried */
	errno = saved;
}

/* Registers a mapping; the first call installs the handler. Returns 0 or an errno value: ENOSPC when the table is full. */
int vpmd_guard_add(uintptr_t address, size_t length)
{
	int result = ENOSPC;

	while (atomic_flag_test_and_set(&writers))
		;
	if (!installed) {
		struct sigaction action = { .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART };
		action.sa_sigaction = on_sigbus;
		sigemptyset(&action.sa_mask);
		if (sigaction(SIGBUS, &action, &previous) != 0) {
			result = errno;
			goto out;
		}
		installed = 1;
	}
	for (int i = 0; i < MAX_RANGES; i++) {
		if (atomic_load(&ranges[i].address) != 0)
			continue;
		atomic_store(&ranges[i].length, length);
		atomic_store(&ranges[i].state, INTACT);
		atomic_store(&ranges[i].address, address); /* last: from now on the handler may find the entry */
		result = 0;
		break;
	}
out:
	atomic_flag_clear(&writers);
	return result;
}

/* Removes the mapping that begins at `address`. Call it before unmapping: the address may then belong to another mapping. */
void vpmd_guard_remove(uintptr_t address)
{
	for (int i = 0; i < MAX_RANGES; i++)
		if (atomic_load(&ranges[i].address) == address)
			atomic_store(&ranges[i].address, 0);
}

/* 1 when the mapping that begins at `address` lost its file and reads as zeros, else 0. */
int vpmd_guard_hit(uintptr_t address)
{
	for (int i = 0; i < MAX_RANGES; i++)
		if (atomic_load(&ranges[i].address) == address)
			return atomic_load(&ranges[i].state) != INTACT;
	return 0;
}

/* How many mappings have lost their file so far. While it stays the same, no vpmd_guard_hit changes. */
unsigned vpmd_guard_hits(void)
{
	return atomic_load(&hits);
}
