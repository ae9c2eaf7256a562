/* Shared by Rx and Tx of packed rings: paths/guest/packed.ts. */

/*
 * Makes the descriptors from `first` on available. All of them are written but word 3 of the first. The store is sequentially
 * consistent, so that the load of the event suppression structure comes after it. Returns SIMD_KICK or 0.
 */
static inline uint32_t publish_packed(const struct vpmd_queue *q, uint32_t first, uint32_t word3, uint32_t next,
				      uint32_t next_wrap, uint32_t added)
{
	q->words[AVAIL_IDX] = (int32_t)next;
	q->words[AVAIL_WRAP] = (int32_t)next_wrap;
	__atomic_store_n(&q->desc[first].word3, word3, __ATOMIC_SEQ_CST);
	uint32_t suppression = __atomic_load_n((uint32_t *)(void *)q->device, __ATOMIC_SEQ_CST);
	uint32_t mode = (suppression >> 16) & 3;
	int wanted = mode != 1;
	if (mode == 2 && q->event_idx) {
		uint32_t event = suppression & 0x7fff;
		if (((suppression >> 15) & 1) != next_wrap)
			event -= q->size;
		wanted = need_event(event, next, next - added);
	}
	return count_kick(q, wanted);
}

static inline uint32_t avail_flags(uint32_t wrap)
{
	return (uint32_t)(wrap ? DESC_F_AVAIL : DESC_F_USED) << 16;
}

static inline uint32_t used_mark(uint32_t wrap)
{
	return wrap ? WRAP_BITS : 0;
}
