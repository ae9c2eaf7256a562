/*
 * What the SIMD code shares with paths/guest/simd-block.ts: one parameter block per queue and thread. Everything in it is
 * fixed when the queue is opened, except `pkts` and `n`, the arguments of a call.
 *
 * For one burst the SIMD code does exactly the same as the TypeScript path of the ring, to packets, ring, counters and
 * private state, so that either may do the next burst. The TypeScript is the definition: read paths/guest/rx/split.ts,
 * rx/packed.ts and tx/packed.ts first.
 */
#ifndef VPMD_SIMD_H
#define VPMD_SIMD_H

#include <stddef.h>
#include <stdint.h>

/* Changes with the block, the meaning of a word or the set of functions: native/helper.ts refuses a library with another. */
#define VPMD_ABI 4

/* A descriptor of either ring format: `word3` is flags | next << 16 (split) or id | flags << 16 (packed). */
struct desc {
	uint32_t addr_lo, addr_hi, len, word3;
};

/* An entry of a split used ring. */
struct used_elem {
	uint32_t id, len;
};

struct vpmd_queue {
	/* The ring, which the device writes too. Split: avail and used ring; packed: device is the event suppression. */
	struct desc *desc;
	uint16_t *driver;
	uint16_t *device;
	/* Private state of the queue: paths/guest/queue.ts. */
	int32_t *words;
	double *stats;
	int32_t *cookie;
	uint16_t *chain;
	uint16_t *free_ring;
	/* Free lists and columns of the mempool: paths/mempool.ts. */
	int32_t *pool_head;
	int32_t *pool_stack;
	int32_t *pool_cache;
	uint8_t *elements;
	uint32_t *addr_lo;
	uint32_t *addr_hi;
	uint32_t *pkt_len;
	int32_t *next;
	uint32_t *ol_flags;
	uint16_t *data_len;
	uint16_t *data_off;
	uint16_t *nb_segs;
	/* Room for `size` mbufs. */
	int32_t *scratch;
	/* The burst. */
	uint32_t *pkts;
	uint32_t n;

	uint32_t size;
	uint32_t hdr_size;
	uint32_t nb_desc;
	uint32_t free_thresh;
	uint32_t event_idx;
	uint32_t pool_count;
	uint32_t pool_cache_size;
	uint32_t stride;
	uint32_t headroom;
	uint32_t data_room;
};
_Static_assert(sizeof(struct vpmd_queue) == 224, "BLOCK_BYTES of paths/guest/simd-block.ts");

/* Flags in the result of a call, beside the number of packets. */
enum {
	SIMD_KICK = 1 << 16,   /* ring the doorbell */
	SIMD_SCALAR = 1 << 17, /* nothing done: the burst holds packets that only the TypeScript path can send */
};

/* Words of the queue's state (paths/guest/queue.ts). */
enum {
	AVAIL_IDX = 1, USED_IDX = 2, FREE_COUNT = 3, FREE_HEAD = 4, AVAIL_WRAP = 5, USED_WRAP = 6, BROKEN = 7,
};
enum { BROKEN_INDEX = 1, BROKEN_ID, BROKEN_TWICE, BROKEN_ORDER };

/* Counters (paths/stats.ts). */
enum {
	PACKETS, BYTES, ERRORS, MULTICAST, BROADCAST, SIZE_BINS, NOMBUF = 13, KICKS, KICKS_SUPPRESSED, DROP_RUNT, DROP_TOO_LONG,
};

/* paths/layout.ts */
enum { DESC_F_WRITE = 2, DESC_F_AVAIL = 1 << 7, DESC_F_USED = 1 << 15 };
enum { ETHER_HDR_LEN = 14 };
#define WRAP_BITS ((uint32_t)(DESC_F_AVAIL | DESC_F_USED) << 16)

/* paths/guest/burst.ts */
enum { MAX_BURST = 64 };

/* Reads a word that the device may change at any moment: read it once, then check the value. */
static inline uint32_t read_once(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

#define NIL (-1)
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
