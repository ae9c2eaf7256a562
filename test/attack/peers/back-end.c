/*
 * A vhost-user back-end with bad manners, for drivers to suffer: `back-end`, one command a line. It serves rings (what is sent
 * is taken, packets are made for whoever has room) and, as told, answers late, wrongly or never.
 *
 *   listen PATH              from now on; every connection begins anew
 *   features HEX             what is offered besides VERSION_1 and PROTOCOL_FEATURES (for connections from now on)
 *   delay FROM MS [once]     replies from number FROM of a connection on wait so long; -1: for ever
 *   bad N KIND               reply number N is KIND: garbage, short, long, huge, empty, request, version, noreply, fds, linger, twice, close
 *   mannered                 neither any more
 *   traffic on|off           packets into every Rx ring
 *   full                     every kick and call eventfd, those that come later too: blocking, and a write would wait
 *   empty                    the same, and a read would wait
 *   hang-up                  closes the connections
 *   state                    -> ok connections N open N messages N replies N taken N made N
 *   quit
 */
#include "peer.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 64, QUEUES = 16, TABLE = 8 };

struct queue {
  uint32_t size;
  uint64_t desc, driver, device; /* user addresses */
  int kick, call;
  bool enabled;
  uint16_t last, wrap;
};

struct connection {
  int sock;
  bool open;
  uint64_t features, protocol, status;
  int replies;
  struct queue queues[QUEUES];
  struct {
    uint64_t guest, size, user;
    uint8_t *map;
  } regions[TABLE];
  int nregions;
  pthread_mutex_t lock;
};

static struct connection *connections[CONNECTIONS];
static int nconnections;
static uint64_t offered = F_MRG_RXBUF, messages, replies_sent, taken, made;
static volatile int delay_from = -1, delay_ms, bad_at = -1;
static volatile bool delay_once, traffic;
/* "full", "empty", or NULL for good manners. */
static const char *volatile manner;
static char bad_kind[32];

static void *by_user(struct connection *c, uint64_t user) {
  for (int i = 0; i < c->nregions; i++)
    if (user - c->regions[i].user < c->regions[i].size) return c->regions[i].map + (user - c->regions[i].user);
  return NULL;
}

static void *by_guest(struct connection *c, uint64_t guest) {
  for (int i = 0; i < c->nregions; i++)
    if (guest - c->regions[i].guest < c->regions[i].size) return c->regions[i].map + (guest - c->regions[i].guest);
  return NULL;
}

/* ---- rings -------------------------------------------------------------------------------------------------------- */

/* A frame of 64 bytes for whoever has room: UDP over IPv4 to 1.1.1.5. */
static const uint8_t frame[64] = {2,    0, 0, 0, 0,    1,    2,    0,   0, 0, 0, 2, 8, 0, 0x45, 0, 0, 50, 0, 0, 0, 0, 64, 17,
                                  0x6d, 0xb4, 10, 1, 1, 1, 1, 1, 1, 5, 0, 9, 0, 9, 0, 30};
enum { HEADER = 12, FRAME = HEADER + sizeof frame };

/* Fills a buffer of a guest. @returns the bytes of it that are used, or 0 when it is too short. */
static uint32_t put_frame(struct connection *c, uint64_t address, uint32_t length) {
  uint8_t *buffer = by_guest(c, address);
  if (buffer == NULL || length < FRAME) return 0;
  memset(buffer, 0, HEADER);
  buffer[10] = 1; /* num_buffers */
  memcpy(buffer + HEADER, frame, sizeof frame);
  made++;
  return FRAME;
}

/* One chain of a split ring. @returns false when there is none that can be used. */
static bool serve_split(struct connection *c, struct queue *q, bool receives, uint8_t *desc) {
  uint8_t *driver = by_user(c, q->driver), *device = by_user(c, q->device);
  if (driver == NULL || device == NULL) return false;
  uint16_t avail = __atomic_load_n((uint16_t *)(driver + 2), __ATOMIC_ACQUIRE), head;
  if (avail == q->last) return false;
  memcpy(&head, driver + 4 + 2 * (q->last % q->size), 2);
  uint32_t entry[2] = {head, 0}, length;
  uint64_t address;
  memcpy(&address, desc + 16 * (head % q->size), 8);
  memcpy(&length, desc + 16 * (head % q->size) + 8, 4);
  if (receives && (entry[1] = put_frame(c, address, length)) == 0) return false;
  memcpy(device + 4 + 8 * (q->last % q->size), entry, 8);
  __atomic_store_n((uint16_t *)(device + 2), ++q->last, __ATOMIC_RELEASE);
  return true;
}

/* The same of a packed one. */
static bool serve_packed(struct connection *c, struct queue *q, bool receives, uint8_t *desc) {
  uint16_t at = q->last, flags = __atomic_load_n((uint16_t *)(desc + 16 * at + 14), __ATOMIC_ACQUIRE), id;
  if ((flags >> 7 & 1) != q->wrap || (flags >> 15 & 1) == q->wrap) return false;
  uint32_t length, n = 1;
  uint64_t address;
  memcpy(&address, desc + 16 * at, 8);
  memcpy(&length, desc + 16 * at + 8, 4);
  for (; flags & DESC_NEXT && n < q->size; n++) memcpy(&flags, desc + 16 * ((at + n) % q->size) + 14, 2);
  memcpy(&id, desc + 16 * ((at + n - 1) % q->size) + 12, 2);
  uint32_t used = 0;
  if (receives && (used = put_frame(c, address, length)) == 0) return false;
  memcpy(desc + 16 * at + 8, &used, 4);
  memcpy(desc + 16 * at + 12, &id, 2);
  uint16_t done = (q->wrap ? 0x8080 : 0) | (receives ? DESC_WRITE : 0);
  __atomic_store_n((uint16_t *)(desc + 16 * at + 14), done, __ATOMIC_RELEASE);
  q->last += n;
  if (q->last >= q->size) q->last -= q->size, q->wrap ^= 1;
  return true;
}

static void serve_queue(struct connection *c, int index) {
  struct queue *q = &c->queues[index];
  bool receives = index % 2 == 0;
  uint8_t *desc = by_user(c, q->desc);
  if (!q->enabled || q->size == 0 || (receives && !traffic) || desc == NULL) return;
  int n = 0;
  while (n < 32 && (c->features & F_PACKED ? serve_packed : serve_split)(c, q, receives, desc)) n++;
  if (!receives) taken += n;
  uint64_t one = 1;
  if (n > 0 && manner == NULL && q->call > 0 && write(q->call, &one, 8) < 0) return; /* full: it is signalled */
}

/* What is to be done to the descriptors that both sides have. */
static void misuse(int fd, const char *how) {
  uint64_t count;
  if (fd <= 0) return;
  if (strcmp(how, "full") == 0) {
    fill_fd(fd, "eventfd");
    return;
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  while (read(fd, &count, 8) > 0);
  fcntl(fd, F_SETFL, 0);
}

static void *serve_rings(void *unused) {
  for (;;) {
    for (int i = 0; i < nconnections; i++) {
      struct connection *c = connections[i];
      pthread_mutex_lock(&c->lock);
      for (int q = 0; c->open && q < QUEUES; q++) {
        serve_queue(c, q);
        if (manner == NULL) continue;
        misuse(c->queues[q].kick, manner);
        misuse(c->queues[q].call, manner);
      }
      pthread_mutex_unlock(&c->lock);
    }
    sleep_us(200);
  }
  return unused;
}

/* ---- messages ----------------------------------------------------------------------------------------------------- */

/* One reply, as good as it is to be. @returns false to close. */
static bool reply(struct connection *c, uint32_t request, const void *payload, uint32_t size) {
  int n = c->replies++;
  if (delay_from >= 0 && n >= delay_from && (!delay_once || n == delay_from)) {
    if (delay_ms < 0) {
      while (delay_from >= 0 && c->open) sleep_us(20000);
    } else sleep_us(delay_ms * 1000ull);
  }
  uint32_t flags = VERSION | REPLY;
  uint8_t bytes[8192] = {0};
  memcpy(bytes, payload, size);
  int fds[2], nfds = 0;
  const char *bad = n == bad_at ? bad_kind : "";
  if (strcmp(bad, "close") == 0) return false;
  if (strcmp(bad, "garbage") == 0) {
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = random64();
    return send_bytes(c->sock, bytes, 64, NULL, 0) == 0;
  }
  if (strcmp(bad, "short") == 0) size = size / 2;
  if (strcmp(bad, "long") == 0) size = size + 8;
  if (strcmp(bad, "empty") == 0) size = 0;
  if (strcmp(bad, "request") == 0) request += 1;
  if (strcmp(bad, "version") == 0) flags = 2 | REPLY;
  if (strcmp(bad, "noreply") == 0) flags = VERSION;
  if (strcmp(bad, "fds") == 0) fds[nfds++] = make_fd("eventfd", 0), fds[nfds++] = make_fd("memfd", 4096);
  if (strcmp(bad, "linger") == 0) fds[nfds++] = make_fd("linger", 0);
  if (strcmp(bad, "huge") == 0) {
    uint32_t header[3] = {request, flags, 0x7fffffff};
    return send_bytes(c->sock, header, sizeof header, NULL, 0) == 0;
  }
  replies_sent++;
  bool good = send_message(c->sock, request, flags, bytes, size, fds, nfds) == 0;
  if (strcmp(bad, "twice") == 0) good = send_message(c->sock, request, flags, bytes, size, NULL, 0) == 0;
  for (int i = 0; i < nfds; i++) close(fds[i]);
  return good;
}

static void forget_memory(struct connection *c) {
  for (int i = 0; i < c->nregions; i++) munmap(c->regions[i].map, c->regions[i].size);
  c->nregions = 0;
}

static void take_memory(struct connection *c, struct message *m) {
  uint32_t n;
  memcpy(&n, m->payload, 4);
  forget_memory(c);
  for (uint32_t i = 0; i < n && i < TABLE && (int)i < m->nfds; i++) {
    uint64_t words[4]; /* guest, size, user, offset */
    memcpy(words, m->payload + 8 + 32 * i, sizeof words);
    void *map = mmap(NULL, words[1] + words[3], PROT_READ | PROT_WRITE, MAP_SHARED, m->fds[i], 0);
    if (map == MAP_FAILED) die("mmap of a region of %lu bytes: %m", words[1]);
    c->regions[c->nregions].guest = words[0];
    c->regions[c->nregions].size = words[1];
    c->regions[c->nregions].user = words[2];
    c->regions[c->nregions++].map = (uint8_t *)map + words[3];
  }
}

/* What a request changes. The rings' thread waits for it, never for the answer. */
static void apply(struct connection *c, struct message *m, struct queue *q, uint64_t word, uint32_t value) {
  switch (m->request) {
    case SET_FEATURES: c->features = word; break;
    case SET_PROTOCOL_FEATURES: c->protocol = word; break;
    case SET_STATUS: c->status = word; break;
    case SET_MEM_TABLE: take_memory(c, m); break;
    case SET_VRING_NUM: q->size = value; break;
    case SET_VRING_BASE:
      q->last = c->features & F_PACKED ? value & 0x7fff : value;
      q->wrap = value >> 15 & 1;
      break;
    case SET_VRING_ENABLE: q->enabled = value; break;
    case GET_VRING_BASE: q->enabled = false; break;
    case SET_VRING_ADDR: {
      uint64_t addr[5];
      memcpy(addr, m->payload, sizeof addr);
      q->desc = addr[1], q->device = addr[2], q->driver = addr[3];
      break;
    }
    case SET_VRING_KICK:
    case SET_VRING_CALL: {
      int *fd = m->request == SET_VRING_KICK ? &q->kick : &q->call;
      if (*fd > 0) close(*fd);
      *fd = m->nfds > 0 ? dup(m->fds[0]) : 0;
    }
  }
}

static bool handle(struct connection *c, struct message *m) {
  uint32_t index = 0, value = 0;
  uint64_t word = 0;
  memcpy(&word, m->payload, 8);
  memcpy(&index, m->payload, 4);
  memcpy(&value, m->payload + 4, 4);
  struct queue *q = &c->queues[(m->request >= SET_VRING_KICK && m->request <= SET_VRING_ERR ? word & 0xff : index) % QUEUES];
  pthread_mutex_lock(&c->lock);
  apply(c, m, q, word, value);
  pthread_mutex_unlock(&c->lock);
  switch (m->request) {
    case GET_FEATURES: word = offered | F_PROTOCOL | F_VERSION_1; return reply(c, m->request, &word, 8);
    case GET_PROTOCOL_FEATURES: word = PF_MQ | PF_REPLY_ACK | PF_STATUS; return reply(c, m->request, &word, 8);
    case GET_QUEUE_NUM: word = QUEUES / 2; return reply(c, m->request, &word, 8);
    case GET_STATUS: return reply(c, m->request, &c->status, 8);
    case GET_VRING_BASE: {
      uint32_t state[2] = {index, c->features & F_PACKED ? (q->last | q->wrap << 15) * 0x10001u : q->last};
      return reply(c, m->request, state, 8);
    }
  }
  if (!(m->flags & NEED_REPLY)) return true;
  word = 0;
  return reply(c, m->request, &word, 8);
}

static void *serve(void *argument) {
  struct connection *c = argument;
  struct message *m = malloc(sizeof *m);
  int result;
  while (c->open && (result = receive_message(c->sock, m, 1000)) != -1) {
    if (result == -2) continue;
    messages++;
    bool good = handle(c, m);
    for (int i = 0; i < m->nfds; i++) close(m->fds[i]);
    if (!good) break;
  }
  free(m);
  pthread_mutex_lock(&c->lock);
  c->open = false;
  close(c->sock);
  forget_memory(c);
  for (int i = 0; i < QUEUES; i++) {
    if (c->queues[i].kick > 0) close(c->queues[i].kick);
    if (c->queues[i].call > 0) close(c->queues[i].call);
  }
  pthread_mutex_unlock(&c->lock);
  return NULL;
}

static void *accept_all(void *argument) {
  int listener = (intptr_t)argument;
  while (nconnections < CONNECTIONS) {
    int sock = accept(listener, NULL, NULL);
    if (sock < 0) continue;
    struct connection *c = calloc(1, sizeof *c);
    pthread_t thread;
    c->sock = sock;
    c->open = true;
    pthread_mutex_init(&c->lock, NULL);
    connections[nconnections] = c;
    nconnections++;
    pthread_create(&thread, NULL, serve, c);
    pthread_detach(thread);
  }
  return NULL;
}

static void command(char *line) {
  char word[32] = "", argument[512] = "", more[32] = "", last[32] = "";
  sscanf(line, "%31s %511s %31s %31s", word, argument, more, last);
  if (strcmp(word, "listen") == 0) {
    pthread_t thread;
    pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)listen_unix(argument));
  } else if (strcmp(word, "features") == 0) offered = strtoull(argument, NULL, 0);
  else if (strcmp(word, "delay") == 0) {
    delay_ms = atoi(more);
    delay_once = strcmp(last, "once") == 0;
    delay_from = atoi(argument);
  } else if (strcmp(word, "bad") == 0) {
    snprintf(bad_kind, sizeof bad_kind, "%s", more);
    bad_at = atoi(argument);
  } else if (strcmp(word, "mannered") == 0) {
    delay_from = bad_at = -1;
    manner = NULL;
  } else if (strcmp(word, "traffic") == 0) traffic = strcmp(argument, "on") == 0;
  else if (strcmp(word, "full") == 0) manner = "full";
  else if (strcmp(word, "empty") == 0) manner = "empty";
  else if (strcmp(word, "hang-up") == 0) {
    for (int i = 0; i < nconnections; i++)
      if (connections[i]->open) shutdown(connections[i]->sock, SHUT_RDWR);
  } else if (strcmp(word, "state") == 0) {
    int open = 0;
    for (int i = 0; i < nconnections; i++) open += connections[i]->open;
    say("ok connections %d open %d messages %lu replies %lu taken %lu made %lu", nconnections, open, messages,
        replies_sent, taken, made);
    return;
  } else {
    say("error unknown command %s", word);
    return;
  }
  say("ok");
}

int main(void) {
  pthread_t thread;
  pthread_create(&thread, NULL, serve_rings, NULL);
  char line[1024];
  while (read_line(line, sizeof line) && strcmp(line, "quit") != 0) command(line);
  return 0;
}
