/* The SIMD code, compiled once per instruction set: VPMD_ISA_SSE, VPMD_ISA_AVX2, VPMD_ISA_AVX512 or VPMD_ISA_NEON is set. */
#include <string.h>

#include "simd.h"

#if defined(VPMD_ISA_AVX512)
#include "isa-avx512.h"
#elif defined(VPMD_ISA_AVX2)
#include "isa-avx2.h"
#elif defined(VPMD_ISA_SSE)
#include "isa-sse.h"
#elif defined(VPMD_ISA_NEON)
#include "isa-neon.h"
#else
#error "say which instruction set: see tools/build-native.mjs"
#endif

uint32_t SIMD(rx_split)(struct vpmd_queue *q);
uint32_t SIMD(rx_packed)(struct vpmd_queue *q);
uint32_t SIMD(tx_packed)(struct vpmd_queue *q);

#include "mempool.h"
#include "burst.h"
#include "rx.h"
#include "rx-split.h"
#include "packed.h"
#include "rx-packed.h"
#include "tx-packed.h"
