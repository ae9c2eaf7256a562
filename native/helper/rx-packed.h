/* virtio_recv_pkts_packed_vec: paths/guest/rx/packed.ts, four descriptors (one cache line) at a time. */

static uint32_t fill_packed(const struct vpmd_queue *q)
{
	const uint32_t got = take_buffers(q);
	if (got == 0)
		return 0;
	const uint32_t size = q->size;
	const int32_t *m = q->scratch;
	const uint32_t first = (uint32_t)q->words[AVAIL_IDX];
	uint32_t idx = first, wrap = (uint32_t)q->words[AVAIL_WRAP], head = (uint32_t)q->words[FREE_HEAD];
	uint32_t first_word3 = 0;
	for (uint32_t i = 0, step; i < got; i += step) {
		const uint32_t flags = avail_flags(wrap) | DESC_F_WRITE << 16;
		const uint16_t *id = &q->free_ring[head];
		struct desc *desc = &q->desc[idx];
		step = 1;
		if (likely(got - i >= 4 && idx + 4 <= size && head + 4 <= size)) {
			v4 ids = v4_load16(id);
			v4 word3 = v4_or(ids, v4_set1(flags));
			if (i == 0) { /* published last, by publish_packed */
				first_word3 = v4_first(word3);
				word3 = v4_with_first(word3, desc->word3);
			}
			remember4(q, ids, id, &m[i]);
			offer4(q, desc, &m[i], word3);
			step = 4;
		} else {
			q->cookie[*id] = m[i];
			offer(q, desc, m[i]);
			if (i == 0)
				first_word3 = flags | *id;
			else
				desc->word3 = flags | *id;
		}
		head = head + step == size ? 0 : head + step;
		idx += step;
		if (idx == size) {
			idx = 0;
			wrap ^= 1;
		}
	}
	q->words[FREE_COUNT] -= (int32_t)got;
	q->words[FREE_HEAD] = (int32_t)head;
	return publish_packed(q, first, first_word3, idx, wrap, got);
}

/* How many descriptors from `idx` on the device has marked used, at most `limit`. */
static inline uint32_t count_used(const struct vpmd_queue *q, uint32_t idx, uint32_t wrap, uint32_t limit)
{
	const uint32_t size = q->size;
	uint32_t mark = used_mark(wrap), count = 0;
	for (uint32_t step; count < limit; count += step) {
		const struct desc *desc = &q->desc[idx];
		step = 0;
		if (limit - count >= 4 && idx + 4 <= size) {
			v4 len, word3;
			desc4_load(desc, &len, &word3);
			if (v4_all_equal(v4_and(word3, v4_set1(WRAP_BITS)), v4_set1(mark)))
				step = 4;
		}
		if (step == 0) {
			if ((read_once(&desc->word3) & WRAP_BITS) != mark)
				break;
			step = 1;
		}
		idx += step;
		if (idx == size) {
			idx = 0;
			mark ^= WRAP_BITS;
		}
	}
	__atomic_thread_fence(__ATOMIC_ACQUIRE); /* the other words of these descriptors are read after their flags */
	return count;
}

uint32_t SIMD(rx_packed)(struct vpmd_queue *q)
{
	const uint32_t size = q->size;
	uint32_t *pkts = q->pkts;
	uint32_t idx = (uint32_t)q->words[USED_IDX], wrap = (uint32_t)q->words[USED_WRAP];
	uint32_t free = (uint32_t)q->words[FREE_COUNT];
	uint32_t n = q->n < MAX_BURST ? q->n : MAX_BURST;
	if (n > q->nb_desc - free)
		n = q->nb_desc - free;
	const uint32_t count = count_used(q, idx, wrap, n);
	if (count == 0)
		return free != 0 ? fill_packed(q) : 0; /* the pool was empty when they became free */

	uint32_t tail = (uint32_t)q->words[FREE_HEAD] + free;
	if (tail >= size)
		tail -= size;
	uint32_t nb = 0;
	for (uint32_t i = 0, step; i < count; i += step) {
		const struct desc *desc = &q->desc[idx];
		step = 0;
		if (likely(count - i >= 4 && idx + 4 <= size && tail + 4 <= size)) {
			v4 len, word3;
			desc4_load(desc, &len, &word3);
			step = receive4(q, v4_and(word3, v4_set1(0xffff)), len, &q->free_ring[tail], &pkts[nb]);
			nb += step;
		}
		if (unlikely(step == 0)) {
			uint32_t id = read_once(&desc->word3) & 0xffff;
			int64_t length = (int64_t)(int32_t)read_once(&desc->len) - q->hdr_size; /* from 2^31 on negative: a runt */
			int32_t m = id < size ? q->cookie[id] : NIL;
			if (m == NIL) {
				q->words[BROKEN] = id < size ? BROKEN_TWICE : BROKEN_ID;
				break;
			}
			q->cookie[id] = NIL;
			q->free_ring[tail] = (uint16_t)id;
			if (is_packet(q, length)) {
				pkts[nb++] = (uint32_t)m;
				received(q, (uint32_t)m, (uint32_t)length);
			} else {
				drop(q, m, length);
			}
			step = 1;
		}
		free += step;
		tail = tail + step == size ? 0 : tail + step;
		idx += step;
		if (idx == size) {
			idx = 0;
			wrap ^= 1;
		}
	}
	q->words[FREE_COUNT] = (int32_t)free;
	q->words[USED_IDX] = (int32_t)idx;
	q->words[USED_WRAP] = (int32_t)wrap;

	const uint32_t kick = q->words[BROKEN] == 0 ? fill_packed(q) : 0;
	if (nb > 0)
		account(q, pkts, nb);
	return nb | kick;
}
