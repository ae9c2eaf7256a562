/*
 * Random messages, random memory tables, random rings. The same seed gives the same sequence (but for the thread that
 * flips bits beside it).
 */
#include "peer.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Numbers at which arithmetic goes wrong. */
static uint64_t odd_number(void) {
  static const uint8_t bits[] = {0, 12, 16, 20, 21, 30, 31, 32, 33, 38, 40, 46, 47, 48, 52, 53, 54, 62, 63};
  switch (below(8)) {
    case 0: return random64();
    case 1: return below(16);
    case 2: return -below(1 << 21);
    default: {
      uint64_t v = 1ull << bits[below(sizeof bits)];
      static const int64_t around[] = {0, 0, 0, 1, -1, 4096, -4096, 2 << 20, -(2 << 20), 0x100000};
      return v + around[below(sizeof around / sizeof *around)];
    }
  }
}

static int random_fd(void) {
  static const char *const names[] = {"memfd", "memfd", "memfd", "eventfd", "eventfd", "pipe", "socket", "datagram", "zero",
                                      "null", "directory", "disk", "tmpfs", "epoll", "readonly", "path", "proc", "semaphore"};
  return make_fd(names[below(sizeof names / sizeof *names)], 1ull << (12 + below(20)));
}

static uint32_t right_size(uint32_t request) {
  switch (request) {
    case SET_MEM_TABLE: return 8 + 32 * (1 + below(8));
    case SET_VRING_ADDR: return 40;
    case ADD_MEM_REG:
    case REM_MEM_REG: return 40;
    case 22: return 32;
    case GET_FEATURES:
    case GET_PROTOCOL_FEATURES:
    case SET_OWNER:
    case RESET_OWNER:
    case GET_QUEUE_NUM:
    case GET_MAX_MEM_SLOTS:
    case GET_STATUS: return 0;
    default: return 8;
  }
}

/* One message, right or wrong. @returns false once the connection is closed. */
static bool random_message(int sock) {
  static uint8_t payload[MAX_PAYLOAD];
  uint32_t request = below(8) == 0 ? random64() : below(10) == 0 ? below(64) : 1 + below(45), flags = VERSION;
  uint32_t size = right_size(request);
  if (below(6) == 0) size = below(300);
  if (below(60) == 0) size = below(8000);
  for (uint32_t i = 0; i < size && i < MAX_PAYLOAD; i += 8) {
    uint64_t v = below(3) == 0 ? below(4) : odd_number();
    memcpy(payload + i, &v, 8);
  }
  if (request == SET_MEM_TABLE && below(8) != 0) {
    uint64_t n = (size - 8) / 32;
    memcpy(payload, &n, 8);
  }
  if ((request >= SET_VRING_NUM && request <= SET_VRING_ERR) || request == SET_VRING_ENABLE)
    if (below(8) != 0) {
      uint32_t index = below(4), num = 1u << below(17);
      memcpy(payload, &index, 4);
      if (request < SET_VRING_KICK || request == SET_VRING_ENABLE) memcpy(payload + 4, &num, 4);
      else memset(payload + 4, 0, 4), payload[1] = below(4) == 0;
    }
  if (request == SET_FEATURES && below(2) == 0) {
    uint64_t v = F_PROTOCOL | F_VERSION_1 | F_MRG_RXBUF | (below(2) ? F_PACKED : 0);
    memcpy(payload, &v, 8);
  }
  if (below(2) == 0) flags |= NEED_REPLY;
  if (below(20) == 0) flags = random64();
  int fds[16], n = 0, want = 0;
  if (request == SET_MEM_TABLE) want = (size - 8) / 32;
  else if (request == ADD_MEM_REG || (request >= SET_VRING_KICK && request <= SET_VRING_ERR)) want = 1;
  if (below(12) == 0) want = below(16);
  while (n < want && n < 16) {
    int fd = random_fd();
    if (fd < 0) break;
    fds[n++] = fd;
  }
  int result;
  if (below(50) == 0) { /* only a part of it, or a header that lies about it */
    uint32_t header[3] = {request, flags, below(2) ? size : (uint32_t)random64()};
    result = send_bytes(sock, header, 1 + below(12), fds, n);
  } else result = send_message(sock, request, flags, payload, size, fds, n);
  for (int i = 0; i < n; i++) close(fds[i]);
  static uint8_t unread[65536];
  while (read(sock, unread, sizeof unread) > 0);
  return result == 0;
}

static uint64_t fuzz_messages(const char *path, uint64_t cases) {
  uint64_t sent = 0, connections = 0;
  while (sent < cases) {
    struct guest *g = calloc(1, sizeof *g);
    g->sock = connect_unix(path);
    if (g->sock < 0) {
      free(g);
      if (connections == 0 || ++connections > cases * 100) return sent;
      sleep_us(1000);
      continue;
    }
    connections++;
    switch (below(4)) {
      case 0: break;
      case 1: start_guest(g, F_MRG_RXBUF | F_INDIRECT, below(2), 64, 1 << 20); break;
      default: handshake(g, F_MRG_RXBUF | F_INDIRECT | F_PROTOCOL | F_VERSION_1 | (below(2) ? F_PACKED : 0), 0);
    }
    fcntl(g->sock, F_SETFL, O_NONBLOCK);
    for (uint64_t n = 1 + below(40); n > 0 && sent < cases; n--, sent++)
      if (!random_message(g->sock)) break;
    sent++;
    end_guest(g);
    free(g);
  }
  return sent;
}

/* Memory tables at the edges; what is accepted gets a ring whose descriptors lie around every border. */
static uint64_t fuzz_tables(const char *path, uint64_t cases, uint64_t *accepted, uint64_t *leaks) {
  uint64_t n = 0;
  for (; n < cases; n++) {
    struct guest *g = calloc(1, sizeof *g);
    g->sock = connect_unix(path);
    if (g->sock < 0 || handshake(g, F_MRG_RXBUF | F_PROTOCOL | F_VERSION_1, 0) != 0) {
      end_guest(g);
      free(g);
      break;
    }
    new_memory(g, MEMORY_BASE, 1 << 20);
    int more = 1 + below(3);
    for (int i = 0; i < more; i++) {
      struct region *r = &g->regions[g->nregions];
      *r = (struct region){.guest = odd_number(), .user = odd_number(), .size = odd_number(), .offset = odd_number()};
      bool plausible = below(3) != 0; /* all but one or two of its numbers could be right */
      if (plausible || below(3) == 0) r->offset = below(2) ? 0 : 1ull << (12 + below(30));
      if (plausible || below(2) == 0) r->offset &= ~4095ull;
      if (plausible || below(2) == 0) r->size = (1ull << (12 + below(22))) - (below(2) ? 0 : 4096 * (int64_t)below(2));
      if (plausible || below(3) == 0) r->guest = g->regions[g->nregions - 1].guest + g->regions[g->nregions - 1].size;
      if (plausible || below(2) == 0) r->user = r->guest + USER_OFFSET;
      if (plausible && below(3) == 0) r->size = odd_number();
      if (plausible && below(3) == 0) r->offset = odd_number() & ~4095ull;
      if (plausible && below(4) == 0) r->guest = r->user = odd_number() & ~4095ull;
      uint64_t end = r->offset + r->size;
      uint64_t file = below(4) == 0 ? 4096 : end < (1ull << 42) && end >= r->size ? end : 1ull << 40;
      r->fd = make_fd(below(4) == 0 ? "tmpfs" : "memfd", file);
      g->nregions++;
    }
    int result = send_table(g, 20000);
    if (result == 0) {
      ++*accepted;
      for (int i = 0; i < 2; i++) start_ring(g, i, false, 64, MEMORY_BASE + i * 65536);
      for (int k = 0; k < 60; k++) {
        struct region *r = &g->regions[below(g->nregions)];
        struct piece p = {r->guest, 1 + below(4000), 0};
        switch (below(4)) {
          case 0: p.address = r->guest + r->size - below(6000); break;
          case 1: p.address = r->guest - below(6000); break;
          case 2: p.address = odd_number(); break;
          default: p.address = r->guest + (r->size ? random64() % r->size : 0);
        }
        if (r == &g->regions[0] && p.address < MEMORY_BASE + (192 << 10)) p.address = MEMORY_BASE + (200 << 10);
        if (below(2) == 0) p.flags = DESC_WRITE, ring_add(&g->rings[0], &p, 1);
        else ring_add(&g->rings[1], &p, 1);
      }
      publish(&g->rings[0]);
      publish(&g->rings[1]);
      sleep_us(2000);
      *leaks += find_victim(g);
    }
    end_guest(g);
    free(g);
    if (result == -2) break;
  }
  return n;
}

struct flipped {
  uint8_t *memory;
  uint64_t size;
  volatile bool stop;
};

static void *flip(void *argument) {
  struct flipped *f = argument;
  uint64_t x = 1;
  while (!f->stop) {
    x = x * 6364136223846793005ull + 1442695040888963407ull;
    f->memory[(x >> 20) % f->size] ^= 1 << (x >> 60 & 7);
    if ((x >> 33) % 64 == 0) sleep_us(1);
  }
  return NULL;
}

static struct piece random_piece(uint64_t data, uint64_t tables, bool write) {
  struct piece p = {data + below(1 << 16), below(3000), write ? DESC_WRITE : 0};
  switch (below(12)) {
    case 0: p.address = odd_number(); break;
    case 1: p.length = odd_number(); break;
    case 2: p.flags ^= DESC_WRITE; break;
    case 3:
    case 4:
      p.address = tables + below(1 << 16);
      p.length = below(3) == 0 ? below(1 << 20) : 16 * (1 + below(64));
      p.flags = DESC_INDIRECT | (below(8) == 0 ? DESC_WRITE : 0);
      break;
    case 5: p.flags = random64(); break;
    case 6: p.length = 0; break;
    case 7: p.length = 12 + below(3); break;
  }
  return p;
}

/* Random chains, tables and indices while a thread flips bits in all of it. */
static uint64_t fuzz_rings(const char *path, bool packed, uint64_t cases) {
  uint64_t n = 0, failures = 0;
  while (n < cases && failures < 50) {
    struct guest *g = calloc(1, sizeof *g);
    uint32_t size = packed ? 3 + below(300) : 1u << (1 + below(9));
    uint64_t features = (below(2) ? F_MRG_RXBUF : 0) | (below(4) ? F_INDIRECT : 0) | (below(2) ? 1ull << 29 : 0) |
                        (below(3) == 0 ? 1ull << 35 : 0);
    g->sock = connect_unix(path);
    if (g->sock < 0 || start_guest(g, features, packed, size, 4 << 20) != 0) {
      failures++;
      sleep_us(10000);
    } else {
      uint64_t data = MEMORY_BASE + (1 << 20), tables = MEMORY_BASE + (2 << 20), ring = ring_bytes(packed, size);
      struct flipped f = {.memory = at(g, MEMORY_BASE), .size = 2 * ring};
      pthread_t thread;
      bool flips = below(4) != 0;
      for (int i = 0; i < 16384; i++) {
        struct piece p = random_piece(data, tables, below(2));
        write_indirect((uint8_t *)at(g, tables) + below(16), packed, i, p, below(8));
      }
      if (flips) pthread_create(&thread, NULL, flip, &f);
      for (uint64_t k = 0; k < 200; k++, n++) {
        struct piece pieces[8];
        int which = below(2), chain = 1 + below(4);
        struct ring *r = &g->rings[which];
        for (int i = 0; i < chain; i++) pieces[i] = random_piece(data, tables, which == 0);
        if ((uint32_t)chain > size) chain = 1;
        if (r->free < (uint32_t)chain) r->free = size;
        ring_add(r, pieces, chain);
        if (!packed && below(6) == 0) r->avail += below(65536);
        if (!packed && below(8) == 0) write_split(r, below(size), data, 64, DESC_NEXT, below(size)); /* a loop */
        publish(r);
        if (below(4) == 0) sleep_us(50);
        if (below(40) == 0) set_ring_fd(g, which, SET_VRING_KICK, r->kick); /* a ring that was given up goes on */
      }
      f.stop = true;
      if (flips) pthread_join(thread, NULL);
    }
    end_guest(g);
    free(g);
  }
  return n;
}

bool fuzz(const char *path, const char *mode, uint64_t seed, uint64_t cases) {
  uint64_t n, accepted = 0, leaks = 0;
  seed_random(seed);
  if (strcmp(mode, "messages") == 0) n = fuzz_messages(path, cases);
  else if (strcmp(mode, "tables") == 0) n = fuzz_tables(path, cases, &accepted, &leaks);
  else if (strcmp(mode, "split") == 0) n = fuzz_rings(path, false, cases);
  else if (strcmp(mode, "packed") == 0) n = fuzz_rings(path, true, cases);
  else return false;
  say("ok cases %lu accepted %lu leaks %lu", n, accepted, leaks);
  return true;
}
