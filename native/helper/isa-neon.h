/* 128-bit registers on arm64, where loads and stores can transpose. */
#ifdef VPMD_EMULATE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/arm/neon.h>
#else
#include <arm_neon.h>
#endif

#define SIMD(name) vpmd_##name##_neon

typedef uint32x4_t v4;

static inline v4 v4_load(const void *from) { return vld1q_u32(from); }
static inline void v4_store(void *to, v4 v) { vst1q_u32(to, v); }
static inline v4 v4_set1(uint32_t x) { return vdupq_n_u32(x); }
static inline v4 v4_add(v4 a, v4 b) { return vaddq_u32(a, b); }
static inline v4 v4_sub(v4 a, v4 b) { return vsubq_u32(a, b); }
static inline v4 v4_and(v4 a, v4 b) { return vandq_u32(a, b); }
static inline v4 v4_or(v4 a, v4 b) { return vorrq_u32(a, b); }
static inline uint32_t v4_first(v4 v) { return vgetq_lane_u32(v, 0); }
static inline v4 v4_with_first(v4 v, uint32_t x) { return vsetq_lane_u32(x, v, 0); }
static inline int v4_all_equal(v4 a, v4 b) { return vminvq_u32(vceqq_u32(a, b)) == UINT32_MAX; }
static inline int v4_any_negative(v4 v) { return vmaxvq_u32(v) > INT32_MAX; }
static inline uint32_t v4_sum(v4 v) { return vaddvq_u32(v); }

/* True when no lane, unsigned, is above `most`. */
static inline int v4_all_at_most(v4 v, uint32_t most) { return vmaxvq_u32(v) <= most; }

/* Loads four uint16_t, widened; stores lanes below 65536, narrowed. */
static inline v4 v4_load16(const uint16_t *from) { return vmovl_u16(vld1_u16(from)); }
static inline void v4_store16(uint16_t *to, v4 v) { vst1_u16(to, vmovn_u32(v)); }

static inline v4 v4_iota(uint32_t from)
{
	static const uint32_t lanes[4] = { 0, 1, 2, 3 };
	return vaddq_u32(vdupq_n_u32(from), vld1q_u32(lanes));
}

/* Element m[0..3] of a column. */
static inline v4 v4_gather32(const uint32_t *column, const int32_t *m)
{
	const uint32_t lanes[4] = { column[m[0]], column[m[1]], column[m[2]], column[m[3]] };
	return vld1q_u32(lanes);
}

static inline v4 v4_gather16(const uint16_t *column, const int32_t *m)
{
	const uint32_t lanes[4] = { column[m[0]], column[m[1]], column[m[2]], column[m[3]] };
	return vld1q_u32(lanes);
}

/* Lengths and last words of the four descriptors of a cache line. */
static inline void desc4_load(const struct desc *desc, v4 *len, v4 *word3)
{
	uint32x4x4_t columns = vld4q_u32(&desc->addr_lo);
	*len = columns.val[2];
	*word3 = columns.val[3];
}

static inline void desc4_store(struct desc *desc, v4 lo, v4 hi, v4 len, v4 word3)
{
	uint32x4x4_t columns = { { lo, hi, len, word3 } };
	vst4q_u32(&desc->addr_lo, columns);
}

static inline void used4_load(const struct used_elem *used, v4 *id, v4 *len)
{
	uint32x4x2_t columns = vld2q_u32(&used->id);
	*id = columns.val[0];
	*len = columns.val[1];
}
