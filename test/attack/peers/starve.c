/*
 * Rings that cost their device as much work as possible for each packet, each way of it a mode: `TX/RX`, a chain of the
 * first kind is sent, chains of the second kind are there to receive it. All chains share their data.
 */
#include "peer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 12, BIG = 65000, TABLE_ENTRIES = 32768 };

/* Where things are in the attacker's memory, behind its rings. */
struct area {
  struct guest *g;
  bool packed;
  uint32_t ring;
  uint64_t data, table, small_tables;
};

static struct area area_of(struct guest *g) {
  struct ring *r = &g->rings[0];
  uint64_t free = MEMORY_BASE + 2 * ring_bytes(r->packed, r->size);
  return (struct area){g, r->packed, r->size, free, free + (1 << 20) + 1, free + (2 << 20)};
}

/* A table of n entries at an odd address: [header][nothing]...[rest]. @returns the piece that points to it. */
static struct piece table_of(struct area *a, uint64_t where, uint32_t n, uint16_t flags, uint32_t last) {
  uint8_t *table = at(a->g, where);
  for (uint32_t i = 0; i < n; i++) {
    struct piece p = {a->data, i == 0 ? HEADER : i + 1 == n ? last : 0, flags};
    write_indirect(table, a->packed, i, p, i + 1 < n);
  }
  return (struct piece){where, n * 16, DESC_INDIRECT};
}

typedef uint32_t builder(struct area *a, struct piece *pieces, uint16_t flags);

static uint32_t small(struct area *a, struct piece *pieces, uint16_t flags) {
  pieces[0] = (struct piece){a->data, flags ? 2048 : HEADER + 64, flags};
  return 1;
}
static uint32_t big(struct area *a, struct piece *pieces, uint16_t flags) {
  pieces[0] = (struct piece){a->data, HEADER + BIG, flags};
  return 1;
}
/* 65000 bytes in 2000 pieces */
static uint32_t many(struct area *a, struct piece *pieces, uint16_t flags) {
  uint32_t n = a->ring < 4096 ? a->ring / 2 : 2000, each = BIG / (n - 1);
  for (uint32_t i = 0; i < n; i++) pieces[i] = (struct piece){a->data, i == 0 ? HEADER : each, flags};
  return n;
}
/* a chain over half of the ring that says nothing */
static uint32_t zero(struct area *a, struct piece *pieces, uint16_t flags) {
  uint32_t n = a->ring / 2;
  for (uint32_t i = 0; i < n; i++)
    pieces[i] = (struct piece){a->data, i == 0 ? HEADER : i + 1 == n ? (flags ? 2048 : 64) : 0, flags};
  return n;
}
/* not a byte in the whole chain */
static uint32_t nothing(struct area *a, struct piece *pieces, uint16_t flags) {
  for (uint32_t i = 0; i < a->ring / 2; i++) pieces[i] = (struct piece){a->data, 0, flags};
  return a->ring / 2;
}
/* every descriptor is an unaligned table of 512 KiB */
static uint32_t indirect(struct area *a, struct piece *pieces, uint16_t flags) {
  pieces[0] = table_of(a, a->table + (flags ? 16 * TABLE_ENTRIES + 2 : 0), TABLE_ENTRIES, flags, flags ? 2048 : 64);
  return 1;
}
/* the largest tables that a device accepts whose chains end at the queue's size */
static uint32_t tablefull(struct area *a, struct piece *pieces, uint16_t flags) {
  uint32_t n = a->ring < TABLE_ENTRIES ? a->ring : TABLE_ENTRIES;
  pieces[0] = table_of(a, a->table + (flags ? 16 * TABLE_ENTRIES + 2 : 0), n, flags, flags ? 2048 : 64);
  return 1;
}
/* a table of two in each descriptor */
static uint32_t each(struct area *a, struct piece *pieces, uint16_t flags) {
  pieces[0] = table_of(a, a->small_tables + (flags ? 33 : 1), 2, flags, flags ? 2048 : 64);
  return 1;
}
/* for mergeable buffers: the header and one byte */
static uint32_t tiny(struct area *a, struct piece *pieces, uint16_t flags) {
  pieces[0] = (struct piece){a->data, HEADER + 1, flags};
  return 1;
}
/* for mergeable buffers: one byte and a long nothing */
static uint32_t thin(struct area *a, struct piece *pieces, uint16_t flags) {
  uint32_t n = a->ring < 1024 ? a->ring / 2 : 500;
  for (uint32_t i = 0; i < n; i++) pieces[i] = (struct piece){a->data, i == 0 ? HEADER + 1 : 0, flags};
  return n;
}
/* the whole ring is not enough for a packet of 65000 bytes: all of it is looked at, for nothing */
static uint32_t hopeless(struct area *a, struct piece *pieces, uint16_t flags) {
  pieces[0] = (struct piece){a->data, 1, flags};
  return 1;
}
/* too short for the header */
static uint32_t runt(struct area *a, struct piece *pieces, uint16_t flags) {
  pieces[0] = (struct piece){a->data, 3, flags};
  return 1;
}
/* outside of the memory */
static uint32_t outside(struct area *a, struct piece *pieces, uint16_t flags) {
  (void)a;
  pieces[0] = (struct piece){0xffffffffffff0000ull, 2048, flags};
  return 1;
}
static uint32_t none(struct area *a, struct piece *pieces, uint16_t flags) {
  (void)a, (void)pieces, (void)flags;
  return 0;
}

static const struct {
  const char *name;
  builder *build;
} kinds[] = {{"small", small},       {"big", big},   {"many", many}, {"zero", zero}, {"nothing", nothing},
             {"indirect", indirect}, {"tablefull", tablefull}, {"each", each}, {"tiny", tiny}, {"runt", runt},
             {"thin", thin},         {"hopeless", hopeless},
             {"outside", outside},   {"none", none}};

static builder *find(const char *name, size_t length) {
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (strlen(kinds[i].name) == length && strncmp(kinds[i].name, name, length) == 0) return kinds[i].build;
  return NULL;
}

/* The device gave the ring up: it starts again, from its beginning. */
static void restart(struct guest *g, int index) {
  struct ring *r = &g->rings[index];
  start_ring(g, index, r->packed, r->size, r->desc_guest);
}

static uint64_t fill(struct ring *r, const struct piece *pieces, uint32_t n) {
  uint64_t added = 0;
  for (uint32_t i = 0; i < r->size && ring_reap(r, NULL) >= 0; i++);
  while (n > 0 && ring_add(r, pieces, n) >= 0) added++;
  if (added > 0) publish(r);
  return added;
}

bool starve(struct guest *g, const char *mode, uint64_t ms) {
  const char *slash = strchr(mode, '/');
  builder *tx = slash == NULL ? NULL : find(mode, slash - mode), *rx = slash == NULL ? NULL : find(slash + 1, strlen(slash + 1));
  if (tx == NULL || rx == NULL) return false;
  struct area a = area_of(g);
  uint8_t *frame = (uint8_t *)at(g, a.data) + HEADER;
  memset(frame - HEADER, 0, HEADER);
  memcpy(frame, (uint8_t[]){2, 0, 0, 0, 0xa, 1, 2, 0, 0, 0, 0xa, 1, 0x88, 0xb6}, 14);
  struct piece *tx_pieces = calloc(65536, sizeof *tx_pieces), *rx_pieces = calloc(65536, sizeof *rx_pieces);
  uint32_t tx_n = tx(&a, tx_pieces, 0), rx_n = rx(&a, rx_pieces, DESC_WRITE);
  uint64_t end = now_us() + ms * 1000, chains = 0, restarts = 0, moved = now_us();
  while (now_us() < end) {
    uint64_t added = fill(&g->rings[0], rx_pieces, rx_n) + fill(&g->rings[1], tx_pieces, tx_n);
    chains += added;
    if (added > 0) moved = now_us();
    /* a ring that stands still for long has been given up, or waits for what never comes */
    if (now_us() - moved > 500000) {
      restart(g, 0);
      restart(g, 1);
      restarts++;
      moved = now_us();
    }
    sleep_us(added > 0 ? 20 : 100);
  }
  free(tx_pieces);
  free(rx_pieces);
  say("ok chains %lu restarts %lu", chains, restarts);
  return true;
}
