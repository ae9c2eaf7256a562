/* virtio_recv_pkts_vec: paths/guest/rx/split.ts, four entries of the used ring at a time. */

/* Publishes avail idx, then checks whether the device wants a notification. Returns SIMD_KICK or 0. */
static inline uint32_t publish_split(const struct vpmd_queue *q, uint16_t new_idx, uint16_t old_idx)
{
	q->words[AVAIL_IDX] = new_idx;
	__atomic_store_n(&q->driver[1], new_idx, __ATOMIC_SEQ_CST);
	const uint16_t *avail_event = q->device + 2 + 4 * (size_t)q->size;
	uint16_t word = __atomic_load_n(q->event_idx ? avail_event : q->device, __ATOMIC_SEQ_CST);
	return count_kick(q, q->event_idx ? need_event(word, new_idx, old_idx) : (word & 1) == 0);
}

static uint32_t fill_split(const struct vpmd_queue *q)
{
	const uint32_t got = take_buffers(q);
	if (got == 0)
		return 0;
	const uint32_t mask = q->size - 1;
	const int32_t *m = q->scratch;
	const uint32_t avail = (uint32_t)q->words[AVAIL_IDX];
	uint32_t head = (uint32_t)q->words[FREE_HEAD];
	uint16_t *ring = q->driver + 2;
	for (uint32_t i = 0, step; i < got; i += step) {
		const uint16_t *id = &q->free_ring[head];
		const uint32_t slot = (avail + i) & mask;
		v4 ids;
		step = 1;
		if (likely(got - i >= 4 && head + 4 <= q->size && slot + 4 <= q->size) &&
		    (ids = v4_load16(id), v4_all_equal(ids, v4_iota(v4_first(ids))))) {
			v4_store(&q->cookie[*id], v4_load(&m[i]));
			offer4(q, &q->desc[*id], &m[i], v4_set1(DESC_F_WRITE));
			/* with a device that works in order the ids repeat: not storing them keeps the line clean in both caches */
			if (unlikely(!v4_all_equal(v4_load16(&ring[slot]), ids)))
				v4_store16(&ring[slot], ids);
			step = 4;
		} else {
			struct desc *desc = &q->desc[*id];
			q->cookie[*id] = m[i];
			offer(q, desc, m[i]);
			desc->word3 = DESC_F_WRITE;
			if (ring[slot] != *id)
				ring[slot] = *id;
		}
		head = (head + step) & mask;
	}
	q->words[FREE_COUNT] -= (int32_t)got;
	q->words[FREE_HEAD] = (int32_t)head;
	return publish_split(q, (uint16_t)(avail + got), (uint16_t)avail);
}

uint32_t SIMD(rx_split)(struct vpmd_queue *q)
{
	const uint32_t size = q->size, mask = size - 1;
	uint32_t *pkts = q->pkts;
	const uint32_t used = (uint32_t)q->words[USED_IDX];
	uint32_t free = (uint32_t)q->words[FREE_COUNT];
	uint32_t count = (__atomic_load_n(&q->device[1], __ATOMIC_ACQUIRE) - used) & 0xffff;
	if (count == 0)
		return free != 0 ? fill_split(q) : 0; /* the pool was empty when they became free */
	if (unlikely(count > q->nb_desc - free)) {
		q->words[BROKEN] = BROKEN_INDEX;
		return 0;
	}
	if (count > MAX_BURST)
		count = MAX_BURST;
	if (count > q->n)
		count = q->n;
	/* end at a cache line of the used ring: the next burst then does not share a line with the device's writes */
	if (count > 4)
		count -= (used + count) & 3;

	const struct used_elem *ring = (const void *)(q->device + 2);
	uint32_t tail = ((uint32_t)q->words[FREE_HEAD] + free) & mask;
	uint32_t nb = 0, i = 0;
	for (uint32_t step; i < count; i += step) {
		const struct used_elem *entry = &ring[(used + i) & mask];
		step = 0;
		if (likely(count - i >= 4 && ((used + i) & mask) + 4 <= size && tail + 4 <= size)) {
			v4 id, len;
			used4_load(entry, &id, &len);
			step = receive4(q, id, len, &q->free_ring[tail], &pkts[nb]);
			nb += step;
		}
		if (unlikely(step == 0)) {
			uint32_t id = read_once(&entry->id);
			int64_t length = (int64_t)read_once(&entry->len) - q->hdr_size;
			int32_t m = id <= mask ? q->cookie[id] : NIL;
			if (m == NIL) {
				q->words[BROKEN] = id <= mask ? BROKEN_TWICE : BROKEN_ID;
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
		tail = (tail + step) & mask;
	}
	q->words[FREE_COUNT] = (int32_t)free;
	q->words[USED_IDX] = (int32_t)((used + i) & 0xffff);

	const uint32_t kick = q->words[BROKEN] == 0 ? fill_split(q) : 0;
	if (nb > 0)
		account(q, pkts, nb);
	return nb | kick;
}
