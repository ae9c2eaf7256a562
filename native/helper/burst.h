/* What all SIMD code does once per burst: counting packets (paths/guest/burst.ts), deciding on a kick (paths/kick.ts). */

static inline unsigned size_bin(uint32_t length)
{
	if (length < 64)
		return 0;
	if (length == 64)
		return 1;
	if (length < 1024)
		return 27 - (unsigned)__builtin_clz(length);
	return length < 1519 ? 6 : 7;
}

static void account_groups(const struct vpmd_queue *q, const uint32_t *pkts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *mac = q->elements + (size_t)pkts[i] * q->stride + q->data_off[pkts[i]];
		if ((mac[0] & 1) == 0)
			continue;
		unsigned all = mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5];
		q->stats[all == 0xff ? BROADCAST : MULTICAST] += 1;
	}
}

/* Counts `n` packets. Packets of equal length in a row are counted with one addition. */
static inline void account(const struct vpmd_queue *q, const uint32_t *restrict pkts, uint32_t n)
{
	const uint32_t *restrict pkt_len = q->pkt_len;
	const uint16_t *restrict data_off = q->data_off;
	double *restrict stats = q->stats;
	uint64_t bytes = 0;
	uint32_t group = 0, run_length = 0, run = 0;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t m = pkts[i], length = pkt_len[m];
		bytes += length;
		group |= q->elements[(size_t)m * q->stride + data_off[m]];
		if (unlikely(length != run_length)) {
			if (run > 0)
				stats[SIZE_BINS + size_bin(run_length)] += run;
			run_length = length;
			run = 0;
		}
		run++;
	}
	if (run > 0)
		stats[SIZE_BINS + size_bin(run_length)] += run;
	stats[PACKETS] += n;
	stats[BYTES] += (double)bytes;
	if (unlikely(group & 1))
		account_groups(q, pkts, n);
}

/* True when a 16-bit index has stepped over `event` on its way from `old_idx` to `new_idx`. */
static inline int need_event(uint32_t event, uint32_t new_idx, uint32_t old_idx)
{
	return ((new_idx - event - 1) & 0xffff) < ((new_idx - old_idx) & 0xffff);
}

static inline uint32_t count_kick(const struct vpmd_queue *q, int wanted)
{
	q->stats[wanted ? KICKS : KICKS_SUPPRESSED] += 1;
	return wanted ? SIMD_KICK : 0;
}
