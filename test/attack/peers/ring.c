/* The driver's side of a split ring (VIRTIO 1.2 section 2.7) and of a packed one (2.8), chains in the order of the ring. */
#include "peer.h"
#include <string.h>
#include <unistd.h>

static void store16(void *to, uint16_t value) { __atomic_store_n((uint16_t *)to, value, __ATOMIC_RELEASE); }
static uint16_t load16(const void *from) { return __atomic_load_n((const uint16_t *)from, __ATOMIC_ACQUIRE); }

void write_split(struct ring *r, uint32_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) {
  uint8_t *d = r->desc + 16ull * index;
  memcpy(d, &address, 8);
  memcpy(d + 8, &length, 4);
  memcpy(d + 12, &flags, 2);
  memcpy(d + 14, &next, 2);
}

void write_indirect(uint8_t *table, bool packed, uint32_t index, struct piece piece, bool more) {
  uint8_t *d = table + 16ull * index;
  uint16_t flags = (piece.flags & DESC_WRITE) | (more && !packed ? DESC_NEXT : 0), next = packed ? 0 : index + 1;
  memcpy(d, &piece.address, 8);
  memcpy(d + 8, &piece.length, 4);
  memcpy(d + (packed ? 14 : 12), &flags, 2);
  memcpy(d + (packed ? 12 : 14), &next, 2);
}

static int add_split(struct ring *r, const struct piece *pieces, uint32_t n) {
  uint16_t head = r->next;
  for (uint32_t i = 0; i < n; i++) {
    uint16_t here = r->next, next = (here + 1) % r->size;
    write_split(r, here, pieces[i].address, pieces[i].length, pieces[i].flags | (i + 1 < n ? DESC_NEXT : 0), next);
    r->next = next;
  }
  store16(r->driver + 4 + 2ull * (r->avail++ % r->size), head);
  return head;
}

static int add_packed(struct ring *r, const struct piece *pieces, uint32_t n) {
  uint16_t head = r->next, first = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint8_t *d = r->desc + 16ull * r->next;
    uint16_t flags = pieces[i].flags | (i + 1 < n ? DESC_NEXT : 0) | (r->wrap ? 1 << 7 : 1 << 15);
    memcpy(d, &pieces[i].address, 8);
    memcpy(d + 8, &pieces[i].length, 4);
    memcpy(d + 12, &head, 2);
    if (i == 0) first = flags;
    else store16(d + 14, flags);
    if (++r->next == r->size) {
      r->next = 0;
      r->wrap ^= 1;
    }
  }
  store16(r->desc + 16ull * head + 14, first);
  return head;
}

int ring_add(struct ring *r, const struct piece *pieces, uint32_t n) {
  if (r->free < n) return -1;
  r->free -= n;
  int id = r->packed ? add_packed(r, pieces, n) : add_split(r, pieces, n);
  r->chain[id] = n;
  return id;
}

int ring_reap(struct ring *r, uint32_t *length) {
  uint32_t id = 0, written = 0;
  if (r->packed) {
    uint8_t *d = r->desc + 16ull * r->used;
    uint16_t flags = load16(d + 14), wrap = r->used_wrap;
    if ((flags >> 7 & 1) != wrap || (flags >> 15 & 1) != wrap) return -1;
    memcpy(&written, d + 8, 4);
    memcpy(&id, d + 12, 2);
    if (r->chain[id] == 0) return -1; /* nothing of ours: the device is at another place */
    r->used += r->chain[id];
    if (r->used >= r->size) {
      r->used -= r->size;
      r->used_wrap ^= 1;
    }
  } else {
    if (load16(r->device + 2) == r->used) return -1;
    uint8_t *e = r->device + 4 + 8ull * (r->used++ % r->size);
    memcpy(&id, e, 4);
    memcpy(&written, e + 4, 4);
  }
  id %= 65536;
  r->free += r->chain[id];
  if (length != NULL) *length = written;
  return id;
}

void kick(struct ring *r) {
  uint64_t one = 1;
  if (r->kick >= 0 && write(r->kick, &one, 8) < 0) return; /* full: it is signalled already */
}

void publish(struct ring *r) {
  if (!r->packed) store16(r->driver + 2, r->avail);
  kick(r);
}
