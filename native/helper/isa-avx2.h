/* 256-bit registers: two descriptors each. */
#include "isa-x86.h"

#define SIMD(name) vpmd_##name##_avx2

/* Lengths and last words of the four descriptors of a cache line. */
static inline void desc4_load(const struct desc *desc, v4 *len, v4 *word3)
{
	__m256i pair01 = _mm256_loadu_si256((const void *)desc), pair23 = _mm256_loadu_si256((const void *)(desc + 2));
	__m256i mixed = _mm256_unpackhi_epi32(pair01, pair23); /* len 0 2, word3 0 2, len 1 3, word3 1 3 */
	__m256i sorted = _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
	*len = _mm256_castsi256_si128(sorted);
	*word3 = _mm256_extracti128_si256(sorted, 1);
}

static inline void desc4_store(struct desc *desc, v4 lo, v4 hi, v4 len, v4 word3)
{
	v4 addr01 = _mm_unpacklo_epi32(lo, hi), addr23 = _mm_unpackhi_epi32(lo, hi);
	v4 rest01 = _mm_unpacklo_epi32(len, word3), rest23 = _mm_unpackhi_epi32(len, word3);
	_mm256_storeu_si256((void *)desc,
			    _mm256_set_m128i(_mm_unpackhi_epi64(addr01, rest01), _mm_unpacklo_epi64(addr01, rest01)));
	_mm256_storeu_si256((void *)(desc + 2),
			    _mm256_set_m128i(_mm_unpackhi_epi64(addr23, rest23), _mm_unpacklo_epi64(addr23, rest23)));
}

static inline void used4_load(const struct used_elem *used, v4 *id, v4 *len)
{
	__m256i sorted = _mm256_permutevar8x32_epi32(_mm256_loadu_si256((const void *)used),
						     _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
	*id = _mm256_castsi256_si128(sorted);
	*len = _mm256_extracti128_si256(sorted, 1);
}
