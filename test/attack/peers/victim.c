/*
 * A well-behaved guest, or two that talk to each other: `victim [--listen] SOCKET [SOCKET]`. With one socket it expects its own
 * packets back, with two what the first sends arrives at the second, which returns it. All of its memory outside of rings and
 * descriptors is filled with a pattern, in which nobody may read or write; its packets carry another.
 *
 *   measure MS     sends 64 packets and waits until all are back, again and again
 *                  -> rounds N median US p99 US max US lost N wrong N
 *   canary         -> canary intact | canary changed at OFFSET
 *   again          connects and starts anew
 *   quit
 */
#include "peer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PACKETS = 64, RING = 256, SLOT = 4096, LEAD = 640, BUFFER = 2048, HEADER = 12, LENGTH = 128, MEMORY = 8 << 20 };
/* slots: 128 for Rx, 128 for Tx; a slot's first LEAD bytes and what is behind the buffer are canary */
enum { SLOTS = 128, FIRST_SLOT = 64 << 10 };

static const uint8_t pattern[8] = {0xca, 0x9a, 0x21, 0xe5, 0x0d, 0x7c, 0xb3, 0x5f};
static const uint8_t packet_mark[8] = {0x88, 0xb5, 'v', 'i', 'c', 't', 'i', 'm'};

struct station {
  struct guest g;
  const char *path;
  uint8_t mac[6], peer[6];
  uint32_t sent; /* packets that the device has not given back */
};

static struct station stations[2];
static int count;
static bool listens;
static uint32_t sequence;

static uint64_t slot(int ring, int n) { return MEMORY_BASE + FIRST_SLOT + (uint64_t)(ring * SLOTS + n) * SLOT; }

static void fill_pattern(uint8_t *from, uint64_t bytes) {
  for (uint64_t i = 0; i < bytes; i++) from[i] = pattern[(uintptr_t)(from + i) & 7];
}

static void offer_rx(struct station *s, int n) {
  struct piece p = {slot(0, n) + LEAD, BUFFER, DESC_WRITE};
  ring_add(&s->g.rings[0], &p, 1);
}

/* Slots go around in the order of the ring; the id of a chain is its ring index, and SLOTS divides RING. */
static void start(struct station *s, int number) {
  end_guest(&s->g);
  if (listens) {
    if (s->g.listener == 0) s->g.listener = listen_unix(s->path);
    if (!readable(s->g.listener, 30000)) die("nobody connected to %s", s->path);
    s->g.sock = accept(s->g.listener, NULL, NULL);
  } else {
    for (int i = 0; i < 100 && (s->g.sock = connect_unix(s->path)) < 0; i++) sleep_us(50000);
    if (s->g.sock < 0) die("connect %s: %m", s->path);
  }
  int step = start_guest(&s->g, F_MRG_RXBUF, false, RING, MEMORY);
  if (step != 0) die("the victim was refused at step %d", step);
  memcpy(s->mac, (uint8_t[]){2, 0, 0, 0, 0xbe, number}, 6);
  memcpy(s->peer, (uint8_t[]){2, 0, 0, 0, 0xbe, count == 1 ? number : 1 - number}, 6);
  struct region *m = &s->g.regions[0];
  fill_pattern(m->map + FIRST_SLOT, m->size - FIRST_SLOT);
  for (int ring = 0; ring < 2; ring++)
    for (int n = 0; n < SLOTS; n++) memset(at(&s->g, slot(ring, n) + LEAD), 0, BUFFER);
  for (int n = 0; n < SLOTS; n++) offer_rx(s, n);
  publish(&s->g.rings[0]);
  s->sent = 0;
}

static void start_all(void) {
  for (int i = 0; i < count; i++) start(&stations[i], i);
}

static void reap_tx(struct station *s) {
  while (ring_reap(&s->g.rings[1], NULL) >= 0) s->sent--;
}

static bool transmit(struct station *s, uint32_t number) {
  struct ring *tx = &s->g.rings[1];
  if (s->sent == SLOTS) return false;
  uint64_t address = slot(1, tx->next % SLOTS) + LEAD;
  uint8_t *p = at(&s->g, address);
  memset(p, 0, HEADER);
  memcpy(p + HEADER, s->peer, 6);
  memcpy(p + HEADER + 6, s->mac, 6);
  memcpy(p + HEADER + 12, packet_mark, 8);
  memcpy(p + HEADER + 20, &number, 4);
  for (int i = 24; i < LENGTH; i++) p[HEADER + i] = number + i;
  struct piece piece = {address, HEADER + LENGTH, 0};
  ring_add(tx, &piece, 1);
  s->sent++;
  return true;
}

/* What has arrived. @returns packets of ours; their numbers in `numbers` (which has room for SLOTS). */
static int receive(struct station *s, uint32_t *numbers, uint64_t *wrong) {
  struct ring *rx = &s->g.rings[0];
  int n = 0, id;
  uint32_t length;
  while (n < SLOTS && (id = ring_reap(rx, &length)) >= 0) {
    const uint8_t *p = at(&s->g, slot(0, id % SLOTS) + LEAD);
    if (memcmp(p + HEADER + 12, packet_mark, 8) == 0) {
      uint32_t number;
      memcpy(&number, p + HEADER + 20, 4);
      bool good = length == HEADER + LENGTH;
      for (int i = 24; good && i < LENGTH; i++) good = p[HEADER + i] == (uint8_t)(number + i);
      if (!good) ++*wrong;
      numbers[n++] = number;
    }
    offer_rx(s, id % SLOTS);
  }
  publish(rx);
  return n;
}

/* One round: 64 packets there and back. @returns how many came back within 10 s. */
static int round_trip(uint64_t *wrong) {
  struct station *first = &stations[0], *last = &stations[count - 1];
  uint32_t numbers[SLOTS], begin = sequence;
  int back = 0;
  uint64_t deadline = now_us() + 10000000;
  for (int i = 0; i < PACKETS; i++) transmit(first, sequence++);
  publish(&first->g.rings[1]);
  while (back < PACKETS && now_us() < deadline) {
    reap_tx(first);
    if (last != first) {
      int n = receive(last, numbers, wrong);
      reap_tx(last);
      for (int i = 0; i < n; i++) transmit(last, numbers[i]);
      if (n > 0) publish(&last->g.rings[1]);
    }
    int n = receive(first, numbers, wrong);
    for (int i = 0; i < n; i++)
      if (numbers[i] - begin < PACKETS) back++; /* the others are late ones of a round that was given up */
    if (n == 0) sleep_us(20);
  }
  for (int i = 0; i < count; i++) reap_tx(&stations[i]);
  return back;
}

static int by_value(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static void measure(uint64_t ms) {
  enum { MOST = 100000 };
  static uint64_t took[MOST];
  uint64_t lost = 0, wrong = 0, end = now_us() + ms * 1000;
  int n = 0;
  do {
    uint64_t begin = now_us();
    int back = round_trip(&wrong);
    lost += PACKETS - back;
    took[n++] = now_us() - begin;
  } while (n < MOST && now_us() < end);
  qsort(took, n, sizeof *took, by_value);
  say("rounds %d median %lu p99 %lu max %lu lost %lu wrong %lu", n, took[n / 2], took[n * 99 / 100], took[n - 1], lost,
      wrong);
}

static void canary(void) {
  for (int i = 0; i < count; i++) {
    struct region *m = &stations[i].g.regions[0];
    for (uint64_t o = FIRST_SLOT; o < m->size; o++) {
      uint64_t in_slot = (o - FIRST_SLOT) % SLOT;
      bool is_buffer = o < FIRST_SLOT + 2ull * SLOTS * SLOT && in_slot >= LEAD && in_slot < LEAD + BUFFER;
      if (is_buffer || m->map[o] == pattern[(uintptr_t)(m->map + o) & 7]) continue;
      say("canary changed at 0x%lx of station %d", o, i);
      return;
    }
  }
  say("canary intact");
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--listen") == 0) listens = true;
    else if (count < 2) stations[count++].path = argv[i];
  }
  if (count == 0) die("usage: victim [--listen] SOCKET [SOCKET]");
  start_all();
  say("ready");
  char line[256];
  while (read_line(line, sizeof line)) {
    if (strncmp(line, "measure ", 8) == 0) measure(strtoull(line + 8, NULL, 10));
    else if (strcmp(line, "canary") == 0) canary();
    else if (strcmp(line, "again") == 0) {
      start_all();
      say("ready");
    } else if (strcmp(line, "quit") == 0) break;
    else say("error unknown command %s", line);
  }
  return 0;
}
