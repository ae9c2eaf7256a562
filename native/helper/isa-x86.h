/* Four 32-bit lanes on x86, from SSE4.1 on: what does not depend on how wide the registers are. */
#ifdef VPMD_EMULATE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/sse4.2.h>
#else
#include <immintrin.h>
#endif

typedef __m128i v4;

static inline v4 v4_load(const void *from) { return _mm_loadu_si128(from); }
static inline void v4_store(void *to, v4 v) { _mm_storeu_si128(to, v); }
static inline v4 v4_set1(uint32_t x) { return _mm_set1_epi32((int)x); }
static inline v4 v4_iota(uint32_t from) { return _mm_add_epi32(_mm_set1_epi32((int)from), _mm_set_epi32(3, 2, 1, 0)); }
static inline v4 v4_add(v4 a, v4 b) { return _mm_add_epi32(a, b); }
static inline v4 v4_sub(v4 a, v4 b) { return _mm_sub_epi32(a, b); }
static inline v4 v4_and(v4 a, v4 b) { return _mm_and_si128(a, b); }
static inline v4 v4_or(v4 a, v4 b) { return _mm_or_si128(a, b); }
static inline uint32_t v4_first(v4 v) { return (uint32_t)_mm_cvtsi128_si32(v); }
static inline v4 v4_with_first(v4 v, uint32_t x) { return _mm_insert_epi32(v, (int)x, 0); }

static inline int v4_all_equal(v4 a, v4 b)
{
	return _mm_movemask_epi8(_mm_cmpeq_epi32(a, b)) == 0xffff;
}

static inline int v4_any_negative(v4 v)
{
	return _mm_movemask_ps(_mm_castsi128_ps(v)) != 0;
}

/* True when no lane, unsigned, is above `most`. */
static inline int v4_all_at_most(v4 v, uint32_t most)
{
	return v4_all_equal(_mm_min_epu32(v, v4_set1(most)), v);
}

static inline uint32_t v4_sum(v4 v)
{
	v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
	return v4_first(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
}

/* Loads four uint16_t, widened; stores lanes below 65536, narrowed. */
static inline v4 v4_load16(const uint16_t *from) { return _mm_cvtepu16_epi32(_mm_loadl_epi64((const void *)from)); }
static inline void v4_store16(uint16_t *to, v4 v) { _mm_storel_epi64((void *)to, _mm_packus_epi32(v, v)); }

/* Element m[0..3] of a column. Loads and inserts: a gather instruction is slower on AMD Zen 3, and on Intel since its microcode fixes. */
static inline v4 v4_gather32(const uint32_t *column, const int32_t *m)
{
	return _mm_set_epi32((int)column[m[3]], (int)column[m[2]], (int)column[m[1]], (int)column[m[0]]);
}

static inline v4 v4_gather16(const uint16_t *column, const int32_t *m)
{
	return _mm_set_epi32(column[m[3]], column[m[2]], column[m[1]], column[m[0]]);
}
