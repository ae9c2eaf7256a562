/* 128-bit registers: a descriptor each. */
#include "isa-x86.h"

#define SIMD(name) vpmd_##name##_sse

/* Lengths and last words of the four descriptors of a cache line. */
static inline void desc4_load(const struct desc *desc, v4 *len, v4 *word3)
{
	v4 low = _mm_unpackhi_epi32(v4_load(desc), v4_load(desc + 1));
	v4 high = _mm_unpackhi_epi32(v4_load(desc + 2), v4_load(desc + 3));
	*len = _mm_unpacklo_epi64(low, high);
	*word3 = _mm_unpackhi_epi64(low, high);
}

static inline void desc4_store(struct desc *desc, v4 lo, v4 hi, v4 len, v4 word3)
{
	v4 addr01 = _mm_unpacklo_epi32(lo, hi), addr23 = _mm_unpackhi_epi32(lo, hi);
	v4 rest01 = _mm_unpacklo_epi32(len, word3), rest23 = _mm_unpackhi_epi32(len, word3);
	v4_store(desc, _mm_unpacklo_epi64(addr01, rest01));
	v4_store(desc + 1, _mm_unpackhi_epi64(addr01, rest01));
	v4_store(desc + 2, _mm_unpacklo_epi64(addr23, rest23));
	v4_store(desc + 3, _mm_unpackhi_epi64(addr23, rest23));
}

static inline void used4_load(const struct used_elem *used, v4 *id, v4 *len)
{
	__m128 low = _mm_castsi128_ps(v4_load(used)), high = _mm_castsi128_ps(v4_load(used + 2));
	*id = _mm_castps_si128(_mm_shuffle_ps(low, high, 0x88));
	*len = _mm_castps_si128(_mm_shuffle_ps(low, high, 0xdd));
}
