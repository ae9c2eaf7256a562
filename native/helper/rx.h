/* Shared by rx-split.h and rx-packed.h. */

/* Sets the columns of an mbuf with a received packet, and prefetches the packet's first line, which `account` reads. */
static inline void received(const struct vpmd_queue *restrict q, uint32_t m, uint32_t length)
{
	__builtin_prefetch(q->elements + (size_t)m * q->stride + q->headroom);
	q->data_off[m] = (uint16_t)q->headroom;
	q->data_len[m] = (uint16_t)length;
	q->pkt_len[m] = length;
	q->ol_flags[m] = 0;
}

/*
 * Receives four buffers with the given used lengths and ids, in the usual case: consecutive ids, each one with the device,
 * each buffer with a whole packet. `spare` is the place for the ids in the ring of free ids. Returns 4; in any other case 0,
 * and nothing has been done.
 */
static inline uint32_t receive4(const struct vpmd_queue *restrict q, v4 id, v4 len, uint16_t *spare, uint32_t *pkts)
{
	const uint32_t id0 = v4_first(id);
	/* at least an Ethernet header and at most what fits, in one unsigned comparison */
	v4 excess = v4_sub(len, v4_set1(q->hdr_size + ETHER_HDR_LEN));
	if (unlikely(id0 > q->size - 4 || !v4_all_equal(id, v4_iota(id0)) ||
		     !v4_all_at_most(excess, q->data_room - ETHER_HDR_LEN)))
		return 0;
	v4 m = v4_load(&q->cookie[id0]);
	if (unlikely(v4_any_negative(m)))
		return 0;
	v4_store(&q->cookie[id0], v4_set1((uint32_t)NIL));
	v4_store16(spare, id);
	v4_store(pkts, m);
	uint32_t lengths[4];
	v4_store(lengths, v4_sub(len, v4_set1(q->hdr_size)));
	for (unsigned k = 0; k < 4; k++)
		received(q, pkts[k], lengths[k]);
	return 4;
}

/* Drops a buffer with an invalid length. `length` is the device's, without the header. */
static inline void drop(const struct vpmd_queue *q, int32_t m, int64_t length)
{
	q->stats[ERRORS] += 1;
	q->stats[length > (int64_t)q->data_room ? DROP_TOO_LONG : DROP_RUNT] += 1;
	pool_put_bulk(q, &m, 1);
}

static inline int is_packet(const struct vpmd_queue *q, int64_t length)
{
	return length >= ETHER_HDR_LEN && length <= (int64_t)q->data_room;
}

/* Writes four empty buffers into four consecutive descriptors. */
static inline void offer4(const struct vpmd_queue *restrict q, struct desc *desc, const int32_t *m, v4 word3)
{
	desc4_store(desc, v4_add(v4_gather32(q->addr_lo, m), v4_set1(q->headroom - q->hdr_size)),
		    v4_gather32(q->addr_hi, m), v4_set1(q->data_room + q->hdr_size), word3);
}

/* Writes one empty buffer: words 0 to 2. */
static inline void offer(const struct vpmd_queue *q, struct desc *desc, int32_t m)
{
	desc->addr_lo = q->addr_lo[m] + q->headroom - q->hdr_size;
	desc->addr_hi = q->addr_hi[m];
	desc->len = q->data_room + q->hdr_size;
}

/* Remembers that the device holds mbufs m[0..3] under ids[0..3], which need not be consecutive. */
static inline void remember4(const struct vpmd_queue *q, v4 ids, const uint16_t *id, const int32_t *m)
{
	if (likely(v4_all_equal(ids, v4_iota(v4_first(ids))))) {
		v4_store(&q->cookie[v4_first(ids)], v4_load(m));
		return;
	}
	for (unsigned k = 0; k < 4; k++)
		q->cookie[id[k]] = m[k];
}

/* Takes mbufs for all free descriptors, as many as the pool has, into `scratch`. Returns how many. */
static inline uint32_t take_buffers(const struct vpmd_queue *q)
{
	const int32_t want = q->words[FREE_COUNT];
	if (want == 0)
		return 0;
	const int32_t got = pool_get_bulk(q, q->scratch, want);
	if (unlikely(got < want))
		q->stats[NOMBUF] += want - got;
	return (uint32_t)got;
}
