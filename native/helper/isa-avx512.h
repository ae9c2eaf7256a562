/* 512-bit registers: a cache line of descriptors. */
#include "isa-x86.h"

#define SIMD(name) vpmd_##name##_avx512

/* Word j of descriptor i is lane 4i + j in memory and lane 4j + i in four columns. */
static inline __m512i transposition(void)
{
	return _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
}

/* Lengths and last words of the four descriptors of a cache line. */
static inline void desc4_load(const struct desc *desc, v4 *len, v4 *word3)
{
	__m512i columns = _mm512_permutexvar_epi32(transposition(), _mm512_loadu_si512((const void *)desc));
	*len = _mm512_extracti32x4_epi32(columns, 2);
	*word3 = _mm512_extracti32x4_epi32(columns, 3);
}

static inline void desc4_store(struct desc *desc, v4 lo, v4 hi, v4 len, v4 word3)
{
	__m512i columns = _mm512_inserti32x4(_mm512_castsi128_si512(lo), hi, 1);
	columns = _mm512_inserti32x4(_mm512_inserti32x4(columns, len, 2), word3, 3);
	_mm512_storeu_si512((void *)desc, _mm512_permutexvar_epi32(transposition(), columns));
}

static inline void used4_load(const struct used_elem *used, v4 *id, v4 *len)
{
	__m256i sorted = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)used),
						     _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
	*id = _mm256_castsi256_si128(sorted);
	*len = _mm256_extracti128_si256(sorted, 1);
}
