/*
 * virtio_xmit_pkts_packed_vec: paths/guest/tx/packed.ts with IN_ORDER, where the id of a packet is the number of its
 * descriptor. Only for bursts in which every packet is a single segment with room for the header in front.
 */

/*
 * True when every packet is such. Also prefetches the lines of the headers, which the other side may have written last.
 * Mbuf indices from the application are checked before they are used to access memory.
 */
static inline int all_simple(const struct vpmd_queue *restrict q, uint32_t n)
{
	const uint32_t *pkts = q->pkts;
	uint32_t odd = 0;
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t m = pkts[i];
		if (unlikely(m >= q->pool_count))
			return 0;
		const uint32_t off = q->data_off[m] - q->hdr_size; /* wraps when there is no room */
		odd |= (off & 1) | (off >= q->stride - q->hdr_size) | (q->nb_segs[m] != 1);
		__builtin_prefetch(q->elements + (size_t)m * q->stride + off);
	}
	return odd == 0;
}

/* Zeroes the header unless it is zero: a store would take the line from the other side (DPDK c9ea670c1d: up to 20 %). */
static inline void clear_header(uint8_t *header, uint32_t hdr_size)
{
	if (likely(hdr_size == 12)) {
		uint64_t low;
		uint32_t high;
		memcpy(&low, header, 8);
		memcpy(&high, header + 8, 4);
		if (unlikely((low | high) != 0))
			memset(header, 0, 12);
		return;
	}
	for (uint32_t i = 0; i < hdr_size; i++)
		if (header[i] != 0)
			header[i] = 0;
}

/* Completes four packets from `idx` on, when each has one descriptor, into `done`. Returns 4, or 0: nothing done. */
static inline uint32_t complete4(const struct vpmd_queue *restrict q, uint32_t idx, int32_t *done)
{
	static const uint16_t singles[4] = { 1, 1, 1, 1 };
	v4 m = v4_load(&q->cookie[idx]);
	if (unlikely(v4_any_negative(m) || memcmp(&q->chain[idx], singles, sizeof singles) != 0))
		return 0;
	if (unlikely(!v4_all_equal(v4_gather32((const uint32_t *)q->next, &q->cookie[idx]), v4_set1((uint32_t)NIL))))
		return 0;
	v4_store(done, m);
	v4_store(&q->cookie[idx], v4_set1((uint32_t)NIL));
	return 4;
}

/* True when the device has marked each of four consecutive descriptors as used. */
static inline int each_used4(const struct vpmd_queue *q, uint32_t idx, uint32_t wrap)
{
	v4 len, word3;
	desc4_load(&q->desc[idx], &len, &word3);
	return v4_all_equal(v4_and(word3, v4_set1(WRAP_BITS | 0xffff)), v4_or(v4_iota(idx), v4_set1(used_mark(wrap))));
}

/* A used descriptor completes all packets up to its id. */
static void cleanup_inorder(const struct vpmd_queue *q)
{
	const uint32_t size = q->size;
	uint32_t idx = (uint32_t)q->words[USED_IDX], wrap = (uint32_t)q->words[USED_WRAP];
	uint32_t free = (uint32_t)q->words[FREE_COUNT];
	int32_t done = 0;
	while (free < q->nb_desc && q->words[BROKEN] == 0) {
		if (idx + 4 <= size && each_used4(q, idx, wrap) && complete4(q, idx, &q->scratch[done])) {
			done += 4;
			free += 4;
			idx += 4;
			if (idx == size) {
				idx = 0;
				wrap ^= 1;
			}
			continue;
		}
		uint32_t word3 = read_once(&q->desc[idx].word3);
		if ((word3 & WRAP_BITS) != used_mark(wrap))
			break;
		const uint32_t last = word3 & 0xffff;
		if (unlikely(last >= size || q->cookie[last] == NIL)) {
			q->words[BROKEN] = last < size ? BROKEN_TWICE : BROKEN_ID;
			break;
		}
		/* terminates: `last` is outstanding, and so is every packet up to it */
		for (int more = 1; more;) {
			uint32_t step = 0;
			/* four packets, when neither `last` nor the end of the ring comes before the fourth */
			if (idx + 4 <= size && (last < idx || last >= idx + 3))
				step = complete4(q, idx, &q->scratch[done]);
			if (step == 4) {
				more = last != idx + 3;
				done += 4;
			} else {
				const int32_t m = q->cookie[idx];
				if (unlikely(m == NIL)) {
					q->words[BROKEN] = BROKEN_ORDER;
					break;
				}
				more = last != idx;
				q->cookie[idx] = NIL;
				step = q->chain[idx];
				if (q->next[m] == NIL)
					q->scratch[done++] = m;
				else
					pool_free(q, m);
			}
			free += step;
			idx += step;
			if (idx >= size) {
				idx -= size;
				wrap ^= 1;
			}
		}
	}
	pool_put_bulk(q, q->scratch, done);
	q->words[USED_IDX] = (int32_t)idx;
	q->words[USED_WRAP] = (int32_t)wrap;
	q->words[FREE_COUNT] = (int32_t)free;
}

static inline void send4(const struct vpmd_queue *restrict q, struct desc *desc, uint32_t idx, const int32_t *m, v4 word3)
{
	static const uint16_t singles[4] = { 1, 1, 1, 1 };
	v4 off = v4_sub(v4_gather16(q->data_off, m), v4_set1(q->hdr_size));
	v4 len = v4_add(v4_gather16(q->data_len, m), v4_set1(q->hdr_size));
	desc4_store(desc, v4_add(v4_gather32(q->addr_lo, m), off), v4_gather32(q->addr_hi, m), len, word3);
	v4_store(&q->cookie[idx], v4_load(m));
	memcpy(&q->chain[idx], singles, sizeof singles);
}

uint32_t SIMD(tx_packed)(struct vpmd_queue *q)
{
	const uint32_t n = q->n, size = q->size;
	const int32_t *pkts = (const int32_t *)q->pkts;
	if (!all_simple(q, n))
		return SIMD_SCALAR;
	if ((uint32_t)q->words[FREE_COUNT] < n + q->free_thresh)
		cleanup_inorder(q);
	uint32_t free = (uint32_t)q->words[FREE_COUNT];
	const uint32_t first = (uint32_t)q->words[AVAIL_IDX];
	uint32_t idx = first, wrap = (uint32_t)q->words[AVAIL_WRAP];
	uint32_t first_word3 = 0, i = 0;
	for (uint32_t step; i < n; i += step) {
		if (unlikely(free == 0)) { /* clean up again: the device continues while we write */
			q->words[FREE_COUNT] = 0;
			if (q->words[BROKEN] == 0)
				cleanup_inorder(q);
			free = (uint32_t)q->words[FREE_COUNT];
			if (free == 0)
				break;
		}
		struct desc *desc = &q->desc[idx];
		const uint32_t flags = avail_flags(wrap);
		step = n - i >= 4 && free >= 4 && idx + 4 <= size ? 4 : 1;
		for (uint32_t k = i; k < i + step; k++)
			clear_header(q->elements + (size_t)pkts[k] * q->stride + q->data_off[pkts[k]] - q->hdr_size,
				     q->hdr_size);
		if (likely(step == 4)) {
			v4 word3 = v4_or(v4_iota(idx), v4_set1(flags));
			if (i == 0) { /* published last, by publish_packed */
				first_word3 = v4_first(word3);
				word3 = v4_with_first(word3, desc->word3);
			}
			send4(q, desc, idx, &pkts[i], word3);
		} else {
			const int32_t m = pkts[i];
			desc->addr_lo = q->addr_lo[m] + q->data_off[m] - q->hdr_size;
			desc->addr_hi = q->addr_hi[m];
			desc->len = q->data_len[m] + q->hdr_size;
			q->cookie[idx] = m;
			q->chain[idx] = 1;
			if (i == 0)
				first_word3 = flags | idx;
			else
				desc->word3 = flags | idx;
		}
		free -= step;
		idx += step;
		if (idx == size) {
			idx = 0;
			wrap ^= 1;
		}
	}
	if (i == 0)
		return 0;
	q->words[FREE_COUNT] = (int32_t)free;
	account(q, q->pkts, i);
	return i | publish_packed(q, first, first_word3, idx, wrap, i);
}
