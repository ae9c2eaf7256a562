/* A vhost-user device as its guest's side sees it: handshake, memory, rings. */
#include "peer.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

int ask(struct guest *g, uint32_t request, const void *payload, uint32_t size, const int *fds, int nfds, int ms) {
  bool acked = g->protocol & PF_REPLY_ACK;
  struct message reply;
  if (send_message(g->sock, request, VERSION | (acked ? NEED_REPLY : 0), payload, size, fds, nfds) < 0) return -1;
  if (!acked) { /* a question after it tells whether the connection lives */
    if (send_message(g->sock, GET_FEATURES, VERSION, NULL, 0, NULL, 0) < 0) return -1;
    return receive_message(g->sock, &reply, ms);
  }
  int result = receive_message(g->sock, &reply, ms);
  if (result != 0) return result;
  uint64_t value = 1;
  memcpy(&value, reply.payload, reply.size < 8 ? reply.size : 8);
  return value != 0;
}

int ask_u64(struct guest *g, uint32_t request, uint64_t *value) {
  struct message reply;
  if (send_message(g->sock, request, VERSION, NULL, 0, NULL, 0) < 0) return -1;
  int result = receive_message(g->sock, &reply, 20000);
  if (result == 0) memcpy(value, reply.payload, 8);
  return result;
}

int handshake(struct guest *g, uint64_t features, uint64_t forced) {
  uint64_t protocol;
  if (send_message(g->sock, SET_OWNER, VERSION, NULL, 0, NULL, 0) < 0) return -1;
  int result = ask_u64(g, GET_FEATURES, &g->offered);
  if (result != 0) return result;
  if ((result = ask_u64(g, GET_PROTOCOL_FEATURES, &protocol)) != 0) return result;
  g->protocol = protocol & (PF_MQ | PF_REPLY_ACK | PF_MEM_SLOTS | PF_STATUS);
  if (send_message(g->sock, SET_PROTOCOL_FEATURES, VERSION, &g->protocol, 8, NULL, 0) < 0) return -1;
  g->features = (features & g->offered) | forced;
  return ask(g, SET_FEATURES, &g->features, 8, NULL, 0, 20000);
}

static void put_region(uint8_t *to, const struct region *r) {
  uint64_t words[4] = {r->guest, r->size, r->user, r->offset};
  memcpy(to, words, sizeof words);
}

int send_table(struct guest *g, int ms) {
  uint8_t payload[8 + 8 * 32] = {0};
  int fds[8];
  int n = g->nregions < 8 ? g->nregions : 8;
  memcpy(payload, &n, 4);
  for (int i = 0; i < n; i++) {
    put_region(payload + 8 + i * 32, &g->regions[i]);
    fds[i] = g->regions[i].fd;
  }
  return ask(g, SET_MEM_TABLE, payload, 8 + n * 32, fds, n, ms);
}

int add_region(struct guest *g, int index, int ms) {
  uint8_t payload[40] = {0};
  put_region(payload + 8, &g->regions[index]);
  return ask(g, ADD_MEM_REG, payload, sizeof payload, &g->regions[index].fd, 1, ms);
}

int remove_region(struct guest *g, int index, int ms) {
  uint8_t payload[40] = {0};
  put_region(payload + 8, &g->regions[index]);
  return ask(g, REM_MEM_REG, payload, sizeof payload, NULL, 0, ms);
}

static struct region *region_of(struct guest *g, uint64_t guest_address) {
  for (int i = 0; i < g->nregions; i++) {
    struct region *r = &g->regions[i];
    if (guest_address - r->guest < r->size) return r;
  }
  return NULL;
}

void *at(struct guest *g, uint64_t guest_address) {
  struct region *r = region_of(g, guest_address);
  return r == NULL || r->map == NULL ? NULL : r->map + (guest_address - r->guest);
}

uint64_t user_of(struct guest *g, uint64_t guest_address) {
  struct region *r = region_of(g, guest_address);
  return r == NULL ? guest_address + USER_OFFSET : guest_address - r->guest + r->user;
}

struct region *new_memory(struct guest *g, uint64_t guest, uint64_t size) {
  struct region *r = &g->regions[g->nregions++];
  *r = (struct region){.guest = guest, .user = guest + USER_OFFSET, .size = size};
  r->fd = make_fd("memfd", size);
  r->map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, r->fd, 0);
  if (r->map == MAP_FAILED) die("mmap of %lu bytes: %m", size);
  return r;
}

static uint64_t aligned(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }
static uint64_t driver_at(uint32_t size) { return 16ull * size; }
static uint64_t device_at(bool packed, uint32_t size) {
  return packed ? 16ull * size + 4 : aligned(16ull * size + 4 + 2ull * size + 2, 4);
}

uint64_t ring_bytes(bool packed, uint32_t size) {
  return aligned(device_at(packed, size) + (packed ? 4 : 6 + 8ull * size), 4096);
}

int set_ring_fd(struct guest *g, int index, uint32_t request, int fd) {
  uint64_t word = index | (fd < 0 ? 0x100 : 0);
  return ask(g, request, &word, 8, &fd, fd < 0 ? 0 : 1, 20000);
}

static void end_ring(struct ring *r) {
  if (r->chain == NULL) return;
  free(r->chain);
  close(r->call);
  if (r->kick >= 0) close(r->kick);
  if (r->err >= 0) close(r->err);
  r->chain = NULL;
}

int start_ring(struct guest *g, int index, bool packed, uint32_t size, uint64_t guest_address) {
  struct ring *r = &g->rings[index];
  if (r->chain != NULL) { /* it runs, or did: stop it first */
    struct message reply;
    uint32_t state[2] = {index, 0};
    if (send_message(g->sock, GET_VRING_BASE, VERSION, state, 8, NULL, 0) < 0) return -1;
    int result = receive_message(g->sock, &reply, 20000);
    if (result != 0) return result;
  }
  end_ring(r);
  *r = (struct ring){.packed = packed, .size = size, .wrap = 1, .used_wrap = 1, .free = size};
  r->desc_guest = guest_address;
  r->driver_guest = guest_address + driver_at(size);
  r->device_guest = guest_address + device_at(packed, size);
  r->desc = at(g, r->desc_guest);
  r->driver = at(g, r->driver_guest);
  r->device = at(g, r->device_guest);
  r->chain = calloc(65536, sizeof *r->chain);
  r->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  r->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  r->err = -1;
  if (r->desc != NULL) memset(r->desc, 0, ring_bytes(packed, size));
  uint32_t num[2] = {index, size}, base[2] = {index, packed ? 0x80008000 : 0}, enable[2] = {index, 1};
  uint64_t addr[5] = {index, user_of(g, r->desc_guest), user_of(g, r->device_guest), user_of(g, r->driver_guest), 0};
  int results[] = {
      ask(g, SET_VRING_NUM, num, 8, NULL, 0, 20000),   ask(g, SET_VRING_BASE, base, 8, NULL, 0, 20000),
      ask(g, SET_VRING_ADDR, addr, 40, NULL, 0, 20000), set_ring_fd(g, index, SET_VRING_CALL, r->call),
      set_ring_fd(g, index, SET_VRING_KICK, r->kick),  ask(g, SET_VRING_ENABLE, enable, 8, NULL, 0, 20000),
  };
  for (size_t i = 0; i < sizeof results / sizeof *results; i++)
    if (results[i] != 0) return results[i];
  return 0;
}

int start_guest(struct guest *g, uint64_t features, bool packed, uint32_t size, uint64_t memory) {
  if (handshake(g, features | F_PROTOCOL | F_VERSION_1 | (packed ? F_PACKED : 0), 0) != 0) return 1;
  new_memory(g, MEMORY_BASE, memory);
  if (send_table(g, 20000) != 0) return 2;
  for (int i = 0; i < 2; i++)
    if (start_ring(g, i, packed, size, MEMORY_BASE + i * ring_bytes(packed, size)) != 0) return 3 + i;
  if (g->protocol & PF_STATUS) {
    uint64_t status = 0xf;
    if (ask(g, SET_STATUS, &status, 8, NULL, 0, 20000) != 0) return 5;
  }
  return 0;
}

void end_guest(struct guest *g) {
  if (g->sock > 0) close(g->sock);
  for (int i = 0; i < g->nregions; i++) {
    if (g->regions[i].map != NULL) munmap(g->regions[i].map - g->regions[i].offset, g->regions[i].offset + g->regions[i].size);
    close(g->regions[i].fd);
  }
  for (int i = 0; i < MAX_RINGS; i++) end_ring(&g->rings[i]);
  int listener = g->listener;
  memset(g, 0, sizeof *g);
  g->listener = listener;
}

uint64_t find_victim(struct guest *g) {
  static const uint8_t pattern[] = {0xca, 0x9a, 0x21, 0xe5, 0x0d, 0x7c, 0xb3, 0x5f, 0xca, 0x9a, 0x21, 0xe5, 0x0d, 0x7c};
  uint64_t found = 0;
  for (int i = 0; i < g->nregions; i++) {
    struct region *r = &g->regions[i];
    if (r->map == NULL || r->size > (1ull << 30)) continue;
    uint8_t *p = r->map, *end = r->map + r->size;
    while ((p = memmem(p, end - p, pattern, sizeof pattern)) != NULL) found++, p += sizeof pattern;
  }
  return found;
}
