/*
 * The free lists of paths/mempool.ts, on the same memory: an lcore's cache, and the stack that all lcores share under a
 * spin lock. Order and thresholds are the same, so that C and TypeScript calls can alternate.
 */
enum { LOCK = 0, TOP = 16, CACHE_HEAD_WORDS = 16 };

static inline void pool_lock(int32_t *head)
{
	int32_t unlocked = 0;
	while (!__atomic_compare_exchange_n(&head[LOCK], &unlocked, 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		unlocked = 0;
}

static inline void pool_unlock(int32_t *head)
{
	__atomic_store_n(&head[LOCK], 0, __ATOMIC_SEQ_CST);
}

/* Moves mbufs from the shared stack to the cache: the missing ones and another cache size. Returns how many. */
static int32_t pool_refill(const struct vpmd_queue *q, int32_t missing)
{
	int32_t *head = q->pool_head, *cache = q->pool_cache;
	const int32_t cache_size = (int32_t)q->pool_cache_size;
	int32_t length = cache[0];
	int32_t n = missing + cache_size;
	if (n > 2 * cache_size - length)
		n = 2 * cache_size - length;
	pool_lock(head);
	int32_t top = head[TOP];
	if (n > top)
		n = top;
	for (int32_t i = 0; i < n; i++)
		cache[CACHE_HEAD_WORDS + length + i] = q->pool_stack[top - n + i];
	head[TOP] = top - n;
	pool_unlock(head);
	cache[0] = length + n;
	return n;
}

/* Moves the coldest `n` mbufs of the cache to the shared stack. */
static void pool_flush(const struct vpmd_queue *q, int32_t n)
{
	int32_t *head = q->pool_head, *cache = q->pool_cache;
	pool_lock(head);
	int32_t top = head[TOP];
	/* an application that frees twice must not make us write behind the stack */
	for (int32_t i = 0; i < n && top + i < (int32_t)q->pool_count; i++)
		q->pool_stack[top + i] = cache[CACHE_HEAD_WORDS + i];
	head[TOP] = top + n;
	pool_unlock(head);
	int32_t length = cache[0] - n;
	for (int32_t i = 0; i < length; i++)
		cache[CACHE_HEAD_WORDS + i] = cache[CACHE_HEAD_WORDS + n + i];
	cache[0] = length;
}

/* Takes up to `n` mbufs into `out`. Returns how many. */
static inline int32_t pool_get_bulk(const struct vpmd_queue *q, int32_t *restrict out, int32_t n)
{
	int32_t *restrict cache = q->pool_cache;
	int32_t got = 0;
	while (got < n) {
		int32_t missing = n - got;
		int32_t length = cache[0];
		if (unlikely(length < missing))
			length += pool_refill(q, missing - length);
		int32_t take = length < missing ? length : missing;
		if (take == 0)
			break;
		const int32_t *last = &cache[CACHE_HEAD_WORDS + length - 1];
		for (int32_t i = 0; i < take; i++)
			out[got + i] = last[-i];
		cache[0] = length - take;
		got += take;
	}
	return got;
}

/* Frees `n` single segments. */
static inline void pool_put_bulk(const struct vpmd_queue *q, const int32_t *restrict mbufs, int32_t n)
{
	int32_t *restrict cache = q->pool_cache;
	const int32_t cache_size = (int32_t)q->pool_cache_size;
	for (int32_t at = 0; at < n;) {
		if (cache[0] >= 2 * cache_size)
			pool_flush(q, cache_size);
		int32_t length = cache[0];
		int32_t room = 2 * cache_size - length;
		int32_t take = n - at < room ? n - at : room;
		for (int32_t i = 0; i < take; i++)
			cache[CACHE_HEAD_WORDS + length + i] = mbufs[at + i];
		cache[0] = length + take;
		at += take;
	}
}

/* Frees a packet: all its segments. */
static void pool_free(const struct vpmd_queue *q, int32_t m)
{
	while (m != NIL) {
		int32_t following = q->next[m];
		if (following != NIL) {
			q->next[m] = NIL;
			q->nb_segs[m] = 1;
		}
		pool_put_bulk(q, &m, 1);
		m = following;
	}
}
