/* Masks of instruction sets: those whose SIMD code is in this library (the build says so), those that the CPU runs. */
#include "simd.h"

enum { SSE = 1, AVX2 = 2, AVX512 = 4, NEON = 8 };

uint32_t vpmd_abi(void);
uint32_t vpmd_isas_built(void);
uint32_t vpmd_isas_of_cpu(void);

uint32_t vpmd_abi(void)
{
	return VPMD_ABI;
}

uint32_t vpmd_isas_built(void)
{
	return VPMD_ISAS_BUILT;
}

/* Also asks whether the operating system saves the registers: __builtin_cpu_supports does that. */
uint32_t vpmd_isas_of_cpu(void)
{
#if defined(VPMD_EMULATE)
	return SSE | AVX2 | AVX512 | NEON;
#elif defined(__x86_64__)
	uint32_t isas = 0;
	__builtin_cpu_init();
	if (__builtin_cpu_supports("sse4.2"))
		isas |= SSE;
	if (__builtin_cpu_supports("avx2"))
		isas |= AVX2;
	/* the features that the compiler may use for AVX512: see tools/build-native.mjs */
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
		isas |= AVX512;
	return isas;
#elif defined(__aarch64__)
	return NEON; /* every arm64 CPU has it */
#else
	return 0;
#endif
}
