/*
 * A vhost-user back-end with bad manners, for drivers to suffer: `back-end`, one command a line. It serves split rings (what is
 * sent is taken, packets are made for whoever has room) and, as told, answers late, wrongly or never.
 *
 *   listen PATH              from now on; every connection begins anew
 *   features HEX             what is offered besides VERSION_1 and PROTOCOL_FEATURES (for connections from now on)
 *   delay FROM MS [once]     replies from number FROM of a connection on wait so long; -1: for ever
 *   bad N KIND               reply number N is KIND: garbage, short, long, huge, empty, request, version, noreply, fds, twice, close
 *   mannered                 neither any more
 *   traffic on|off           packets into every Rx ring
 *   full                     every kick and call eventfd, those that come later too: blocking, and a write would wait
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
  uint16_t last;
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
static volatile bool delay_once, traffic, keeps_full;
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

static void serve_queue(struct connection *c, int index) {
  struct queue *q = &c->queues[index];
  bool receives = index % 2 == 0;
  if (!q->enabled || q->size == 0 || c->features & F_PACKED || (receives && !traffic)) return;
  uint8_t *desc = by_user(c, q->desc), *driver = by_user(c, q->driver), *device = by_user(c, q->device);
  if (desc == NULL || driver == NULL || device == NULL) return;
  for (int n = 0; n < 32; n++) {
    uint16_t avail = __atomic_load_n((uint16_t *)(driver + 2), __ATOMIC_ACQUIRE), head;
    if (avail == q->last) return;
    memcpy(&head, driver + 4 + 2 * (q->last % q->size), 2);
    uint32_t length = 0, entry[2];
    uint64_t address;
    memcpy(&address, desc + 16 * (head % q->size), 8);
    memcpy(&length, desc + 16 * (head % q->size) + 8, 4);
    uint8_t *buffer = by_guest(c, address);
    if (receives && buffer != NULL && length >= 76) {
      memset(buffer, 0, 76);
      buffer[10] = 1; /* num_buffers */
      memcpy(buffer + 12, (uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45}, 15);
      length = 76;
      made++;
    } else if (receives) return;
    else length = 0, taken++;
    entry[0] = head, entry[1] = length;
    memcpy(device + 4 + 8 * (q->last % q->size), entry, 8);
    q->last++;
    __atomic_store_n((uint16_t *)(device + 2), q->last, __ATOMIC_RELEASE);
  }
}

static void *serve_rings(void *unused) {
  for (;;) {
    for (int i = 0; i < nconnections; i++) {
      struct connection *c = connections[i];
      pthread_mutex_lock(&c->lock);
      for (int q = 0; c->open && q < QUEUES; q++) {
        serve_queue(c, q);
        if (!keeps_full) continue;
        if (c->queues[q].kick > 0) fill_fd(c->queues[q].kick, "eventfd");
        if (c->queues[q].call > 0) fill_fd(c->queues[q].call, "eventfd");
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
    case SET_VRING_BASE: q->last = value; break;
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
      uint32_t state[2] = {index, c->features & F_PACKED ? 0x80008000 : q->last};
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
    keeps_full = false;
  } else if (strcmp(word, "traffic") == 0) traffic = strcmp(argument, "on") == 0;
  else if (strcmp(word, "full") == 0) keeps_full = true;
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
