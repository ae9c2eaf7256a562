/*
 * Sleeping until another CPU, or a device, writes to a cache line: UMONITOR and UMWAIT (Intel WAITPKG), MONITORX and
 * MWAITX (AMD). User-space programs can use both without a system call.
 */
#include <stdint.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

enum { NONE = 0, WAITPKG = 1, MWAITX = 2 };

/* The longest sleep, in ticks of the time stamp counter: Linux's limit for UMWAIT. An lcore must also check other things. */
enum { MAX_TICKS = 100000 };

/* CPUID is slow in a virtual machine: the caller asks once. */
uint32_t vpmd_monitor_kind(void);
void vpmd_monitor_wait(uint32_t kind, const volatile uint16_t *word, uint16_t seen);

uint32_t vpmd_monitor_kind(void)
{
	uint32_t a, b, c, d;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 5)))
		return WAITPKG;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d) && (c & (1u << 29)))
		return MWAITX;
	return NONE;
}

__attribute__((target("waitpkg"))) static void umwait(const volatile uint16_t *word, uint16_t seen)
{
	_umonitor((void *)(uintptr_t)word);
	if (*word == seen) /* written since the caller looked: the monitor was too late */
		_umwait(0, __rdtsc() + MAX_TICKS);
}

__attribute__((target("mwaitx"))) static void mwaitx(const volatile uint16_t *word, uint16_t seen)
{
	_mm_monitorx((void *)(uintptr_t)word, 0, 0);
	if (*word == seen)
		_mm_mwaitx(2, 0, MAX_TICKS); /* bit 1: with a timer; hints 0: C1 */
}

void vpmd_monitor_wait(uint32_t kind, const volatile uint16_t *word, uint16_t seen)
{
	switch (kind) {
	case WAITPKG:
		umwait(word, seen);
		break;
	case MWAITX:
		mwaitx(word, seen);
		break;
	}
}

#else

uint32_t vpmd_monitor_kind(void);
void vpmd_monitor_wait(uint32_t kind, const volatile uint16_t *word, uint16_t seen);

uint32_t vpmd_monitor_kind(void)
{
	return 0;
}

void vpmd_monitor_wait(uint32_t kind, const volatile uint16_t *word, uint16_t seen)
{
	(void)kind;
	(void)word;
	(void)seen;
}

#endif
