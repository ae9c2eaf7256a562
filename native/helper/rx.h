/* What the two receiving files have in common. */

/* The columns of one mbuf that holds a received packet, and a start on the packet's first line, which `account` reads. */
static inline void received(const struct vpmd_queue *restrict q, uint32_t m, uint32_t length)
{
	__builtin_prefetch(q->elements + (size_t)m * q->stride + q->headroom);
	q->data_off[m] = (uint16_t)q->headroom;
	q->data_len[m] = (uint16_t)length;
	q->pkt_len[m] = length;
	q->ol_flags[m] = 0;
}

/*
 * Receives four buffers whose used lengths and ids are given: the usual case, ids in a row, each with the device, each
 * holding a whole packet. `spare` is where in the ring of free ids they go. Returns 4; or 0 when anything is unusual,
 * and then nothing has been done.
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

/* Drops what is no packet: `length` is what the device says it wrote, without the header. */
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

/* Four empty buffers into four descriptors in a row. */
static inline void offer4(const struct vpmd_queue *restrict q, struct desc *desc, const int32_t *m, v4 word3)
{
	desc4_store(desc, v4_add(v4_gather32(q->addr_lo, m), v4_set1(q->headroom - q->hdr_size)),
		    v4_gather32(q->addr_hi, m), v4_set1(q->data_room + q->hdr_size), word3);
}

/* One empty buffer: words 0 to 2. */
static inline void offer(const struct vpmd_queue *q, struct desc *desc, int32_t m)
{
	desc->addr_lo = q->addr_lo[m] + q->headroom - q->hdr_size;
	desc->addr_hi = q->addr_hi[m];
	desc->len = q->data_room + q->hdr_size;
}

/* Mbufs m[0..3] go to the device under ids[0..3], which need not be in a row. */
static inline void remember4(const struct vpmd_queue *q, v4 ids, const uint16_t *id, const int32_t *m)
{
	if (likely(v4_all_equal(ids, v4_iota(v4_first(ids))))) {
		v4_store(&q->cookie[v4_first(ids)], v4_load(m));
		return;
	}
	for (unsigned k = 0; k < 4; k++)
		q->cookie[id[k]] = m[k];
}

/* Mbufs for every free descriptor, as far as the pool goes, into `scratch`. Returns how many. */
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
