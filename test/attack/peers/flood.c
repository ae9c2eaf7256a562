/* Connections and messages without measure. Every mode is over after `ms`, whatever the other side does. */
#include "peer.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HALVES = 70 };

static struct guest *connected(const char *path) {
  struct guest *g = calloc(1, sizeof *g);
  g->sock = connect_unix(path);
  return g;
}

static void drop(struct guest *g) {
  end_guest(g);
  free(g);
}

static uint64_t connects(const char *path, uint64_t end) {
  uint64_t n = 0;
  for (; now_us() < end; n++) {
    int sock = connect_unix(path);
    if (sock >= 0) close(sock);
    else sleep_us(100);
  }
  return n;
}

/* Connections that say nothing, or a byte each second. */
static uint64_t silent(const char *path, uint64_t end, bool talks) {
  static const uint8_t byte[12] = {SET_OWNER, 0, 0, 0, VERSION};
  int socks[HALVES];
  uint64_t n = 0;
  for (int i = 0; i < HALVES; i++) {
    socks[i] = connect_unix(path);
    if (socks[i] < 0) continue;
    fcntl(socks[i], F_SETFL, O_NONBLOCK);
    n++;
  }
  for (uint64_t second = 0; now_us() < end; second++) {
    for (int i = 0; talks && i < HALVES; i++) send_bytes(socks[i], byte + second % 12, 1, NULL, 0);
    sleep_us(end - now_us() < 1000000 ? end - now_us() : 1000000);
  }
  for (int i = 0; i < HALVES; i++) close(socks[i]);
  return n;
}

/* One message again and again, answers unread. */
static uint64_t repeat(const char *path, uint64_t end, uint32_t request, uint32_t flags, const void *payload, uint32_t size) {
  uint64_t n = 0;
  struct guest *g = connected(path);
  handshake(g, F_PROTOCOL | F_VERSION_1, 0);
  fcntl(g->sock, F_SETFL, O_NONBLOCK);
  while (now_us() < end) {
    if (send_message(g->sock, request, flags, payload, size, NULL, 0) == 0) n++;
    else {
      struct message unused;
      sleep_us(100);
      if (receive_message(g->sock, &unused, 0) != -1) continue;
      /* hung up: once more */
      drop(g);
      g = connected(path);
      if (g->sock < 0 || handshake(g, F_PROTOCOL | F_VERSION_1, 0) != 0) sleep_us(1000);
      else fcntl(g->sock, F_SETFL, O_NONBLOCK);
    }
  }
  drop(g);
  return n;
}

/* Every connection ends with a message that is worth a complaint. */
static uint64_t garbage(const char *path, uint64_t end) {
  uint64_t n = 0;
  for (; now_us() < end; n++) {
    uint64_t junk[4] = {random64(), random64(), random64(), random64()};
    int sock = connect_unix(path);
    if (sock < 0) sleep_us(100);
    else {
      send_bytes(sock, junk, sizeof junk, NULL, 0);
      close(sock);
    }
  }
  return n;
}

/* Eight sparse regions of 2 GiB less 2 MiB or of 2 GiB, never the same ones twice in a row. */
static uint64_t tables(const char *path, uint64_t end, uint64_t each) {
  uint64_t n = 0;
  struct guest *g = connected(path);
  handshake(g, F_PROTOCOL | F_VERSION_1, 0);
  for (int i = 0; i < 8; i++) {
    uint64_t guest = i * (each + (1ull << 30));
    g->regions[g->nregions++] =
        (struct region){.guest = guest, .user = guest + USER_OFFSET, .size = each, .fd = make_fd("memfd", each + 8192)};
  }
  for (; now_us() < end; n++) {
    for (int i = 0; i < 8; i++) g->regions[i].offset = (n & 1) * 4096;
    if (send_table(g, 10000) >= 0) continue;
    struct region keep[8];
    memcpy(keep, g->regions, sizeof keep);
    close(g->sock);
    g->sock = connect_unix(path);
    if (g->sock < 0 || handshake(g, F_PROTOCOL | F_VERSION_1, 0) != 0) sleep_us(1000);
  }
  drop(g);
  return n;
}

/* Ever larger regions, with a buffer in every GiB of each. */
static uint64_t gigabytes(const char *path, uint64_t end) {
  uint64_t n = 0, size = 100;
  struct guest *g = connected(path);
  if (start_guest(g, F_MRG_RXBUF, false, 256, 4 << 20) != 0) return 0;
  g->nregions = 2;
  g->regions[1] = (struct region){.guest = 4ull << 30, .user = 4ull << 40, .fd = make_fd("memfd", 300ull << 30)};
  for (; now_us() < end; n++) {
    struct ring *tx = &g->rings[1];
    g->regions[1].size = size << 30;
    if (send_table(g, 20000) != 0) break;
    for (uint64_t i = 0; i < size && tx->free > 0; i++) {
      struct piece p = {(4ull << 30) + (i << 30), 100, 0};
      ring_add(tx, &p, 1);
    }
    publish(tx);
    while (tx->free < tx->size && now_us() < end)
      if (ring_reap(tx, NULL) < 0) sleep_us(100);
    size = size == 250 ? 100 : size + 1;
  }
  drop(g);
  return n;
}

static uint64_t kicks(const char *path, uint64_t end) {
  uint64_t n = 0;
  struct guest *g = connected(path);
  if (start_guest(g, 0, false, 256, 4 << 20) == 0)
    for (; now_us() < end; n++) kick(&g->rings[n & 1]);
  drop(g);
  return n;
}

/* Rings that start and stop, with all that hangs on it. */
static uint64_t restarts(const char *path, uint64_t end, bool packed) {
  uint64_t n = 0;
  struct guest *g = connected(path);
  if (start_guest(g, 0, packed, 256, 4 << 20) == 0)
    for (; now_us() < end; n++)
      if (start_ring(g, n & 1, packed, 256, g->rings[n & 1].desc_guest) != 0) break;
  drop(g);
  return n;
}

/* Whole guests that come and go. */
static uint64_t guests(const char *path, uint64_t end) {
  uint64_t n = 0;
  for (; now_us() < end; n++) {
    struct guest *g = connected(path);
    if (g->sock < 0 || start_guest(g, 0, n & 1, 256, 4 << 20) != 0) sleep_us(1000);
    drop(g);
  }
  return n;
}

/* Messages with more descriptors than they may carry. */
static uint64_t descriptors(const char *path, uint64_t end) {
  uint64_t n = 0;
  int fds[MAX_FDS];
  for (int i = 0; i < MAX_FDS; i++) fds[i] = make_fd("eventfd", 0);
  for (; now_us() < end; n++) {
    uint64_t word = below(4);
    uint32_t request = n & 1 ? SET_VRING_CALL : GET_FEATURES;
    int sock = connect_unix(path);
    if (sock < 0) sleep_us(100);
    else {
      send_message(sock, request, VERSION, &word, n & 1 ? 8 : 0, fds, 1 + below(MAX_FDS));
      close(sock);
    }
  }
  for (int i = 0; i < MAX_FDS; i++) close(fds[i]);
  return n;
}

bool flood(const char *path, const char *mode, uint64_t ms) {
  uint64_t end = now_us() + ms * 1000, n, features = F_PROTOCOL | F_VERSION_1, ring = 0, bad[5] = {0, 3, 5, 7, 0};
  if (strcmp(mode, "connects") == 0) n = connects(path, end);
  else if (strcmp(mode, "silent") == 0) n = silent(path, end, false);
  else if (strcmp(mode, "slow") == 0) n = silent(path, end, true);
  else if (strcmp(mode, "questions") == 0) n = repeat(path, end, GET_FEATURES, VERSION, NULL, 0);
  else if (strcmp(mode, "features") == 0) n = repeat(path, end, SET_FEATURES, VERSION, &features, 8);
  else if (strcmp(mode, "bases") == 0) n = repeat(path, end, GET_VRING_BASE, VERSION, &ring, 8);
  else if (strcmp(mode, "unknown") == 0) n = repeat(path, end, 77, VERSION, NULL, 0);
  else if (strcmp(mode, "flags") == 0) n = repeat(path, end, SET_OWNER, 0xfffffff1 & ~REPLY, NULL, 0);
  else if (strcmp(mode, "refusals") == 0) n = repeat(path, end, SET_VRING_ADDR, VERSION | NEED_REPLY, bad, 40);
  else if (strcmp(mode, "garbage") == 0) n = garbage(path, end);
  else if (strcmp(mode, "tables") == 0) n = tables(path, end, 2ull << 30);
  else if (strcmp(mode, "tables-less") == 0) n = tables(path, end, (2ull << 30) - (4 << 20));
  else if (strcmp(mode, "gigabytes") == 0) n = gigabytes(path, end);
  else if (strcmp(mode, "kicks") == 0) n = kicks(path, end);
  else if (strcmp(mode, "restarts-split") == 0) n = restarts(path, end, false);
  else if (strcmp(mode, "restarts-packed") == 0) n = restarts(path, end, true);
  else if (strcmp(mode, "guests") == 0) n = guests(path, end);
  else if (strcmp(mode, "descriptors") == 0) n = descriptors(path, end);
  else return false;
  say("ok %lu", n);
  return true;
}
