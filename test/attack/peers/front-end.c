/*
 * A hostile vhost-user front-end, one command a line, one line of answer each: `ok ...`, `refused` (a negative
 * acknowledgement), `closed` (the back-end hung up), `silent` (no answer in time) or `error ...`. D is the number of a device,
 * Q of a ring; numbers may be hexadecimal.
 *
 *   connect D PATH | listen D PATH | close D | sleep MS
 *   handshake D FEATURES [FORCED]            up to SET_FEATURES -> ok FEATURES
 *   guest D split|packed SIZE MEMORY FEATURES  a whole device with rings 0 and 1
 *   memory D GUEST SIZE                      a memfd that this program sees too, into the list of regions -> ok N
 *   sparse D GUEST SIZE OFFSET               the same, OFFSET bytes into its file
 *   region D KIND GUEST SIZE USER OFFSET FILE  any other file of FILE bytes -> ok N
 *   fuse D GUEST SIZE USER OFFSET FILE BLOCK DIRECTORY   a file on a FUSE of our own -> ok N, or error without FUSE
 *   manners serves|getattr|read|flush              what that FUSE never answers from now on
 *   table D | add D N | remove D N           SET_MEM_TABLE of the list; ADD_MEM_REG, REM_MEM_REG of one
 *   truncate D N SIZE
 *   leave D N                                all its pages are there, and this program lets go of it
 *   ring D Q split|packed SIZE GUEST
 *   ready D                                  status DRIVER_OK
 *   fd D Q kick|call|err KIND [full]         sends a descriptor; `full`: blocking, and a write would wait
 *   fill D Q kick|call|err KIND              makes the one that was sent last so, again
 *   harass D Q kick|call|err KIND MS         packets, while a thread keeps that descriptor full
 *   break D Q                                an avail index that cannot be, a chain without an end
 *   send D COUNT LENGTH                      to itself, over one Tx descriptor each; Rx buffers are offered before
 *   sweep D read|write GUEST SIZE STEP LENGTH  buffers all over a range, as packets that are sent or room to receive
 *   scan D                                   how often the victim's pattern is in memory -> ok N
 *   bytes D HEX | message D REQUEST FLAGS HEX [KIND...]   -> ok
 *   starve D TX/RX MS | flood PATH MODE MS | fuzz PATH MODE SEED CASES
 *   quit
 */
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct guest *guests[MAX_GUESTS];
static char *words[32];
static int count;

static uint64_t number(int i) { return i < count ? strtoull(words[i], NULL, 0) : 0; }
static bool is(int i, const char *word) { return i < count && strcmp(words[i], word) == 0; }

static void outcome(int result) {
  say("%s", result == 0 ? "ok" : result == -1 ? "closed" : result == -2 ? "silent" : "refused");
}

/* The descriptors that were sent last: kick, call, err of each ring of each device. */
static int sent_fds[MAX_GUESTS][MAX_RINGS][3];

static int which_fd(int i) { return is(i, "kick") ? 0 : is(i, "call") ? 1 : 2; }

static void send_fd(struct guest *g, uint64_t d, uint64_t q) {
  int which = which_fd(3), fd = make_fd(words[4], 4096);
  if (fd < 0) {
    say("error %s: %s", words[4], strerror(errno));
    return;
  }
  int result = set_ring_fd(g, q, SET_VRING_KICK + which, fd);
  if (is(5, "full")) fill_fd(fd, words[4]);
  sent_fds[d][q][which] = fd;
  if (which == 0 && result == 0) {
    close(g->rings[q].kick);
    g->rings[q].kick = is(5, "full") || strstr(words[4], "eventfd") == NULL ? -1 : dup(fd); /* we do not wait either */
  }
  outcome(result);
}

static void take_fuse(struct guest *g) {
  int fd = fuse_open(number(6), number(7), words[8]);
  if (fd < 0) {
    say("error fuse: %s", strerror(errno));
    return;
  }
  g->regions[g->nregions] =
      (struct region){.fd = fd, .guest = number(2), .size = number(3), .user = number(4), .offset = number(5)};
  say("ok %d", g->nregions++);
}

static void take_region(struct guest *g) {
  int fd = make_fd(words[2], number(7));
  if (fd < 0) {
    say("error %s: %s", words[2], strerror(errno));
    return;
  }
  g->regions[g->nregions] =
      (struct region){.fd = fd, .guest = number(3), .size = number(4), .user = number(5), .offset = number(6)};
  say("ok %d", g->nregions++);
}

/* Where this program's own packets are: the first region has 8 MiB at least, rings are below. */
static uint64_t behind_rings(struct guest *g) { return g->regions[0].guest + (4 << 20); }

/* Waits until the device has given back all chains of a ring, or for 300 ms without one. @returns how many came. */
static uint64_t drain(struct ring *r) {
  uint64_t n = 0, last = now_us();
  while (r->free < r->size && now_us() - last < 300000) {
    if (ring_reap(r, NULL) >= 0) {
      n++;
      last = now_us();
    } else sleep_us(50);
  }
  return n;
}

struct sent {
  uint64_t used, back;
};

static struct sent send_packets(struct guest *g, uint64_t n, uint64_t length) {
  struct ring *rx = &g->rings[0], *tx = &g->rings[1];
  uint64_t data = behind_rings(g), room = data + 65536, used = 0, back = 0;
  memset(at(g, data), 0, 12 + length);
  memset((uint8_t *)at(g, data) + 12, 2, 12);
  for (uint64_t i = 0; i < n; i++) {
    struct piece in = {room, 2048, DESC_WRITE}, out = {data, 12 + length, 0};
    while (ring_reap(rx, NULL) >= 0) back++;
    ring_add(rx, &in, 1);
    publish(rx);
    if (ring_add(tx, &out, 1) < 0) {
      uint64_t came = drain(tx);
      used += came;
      if (came == 0) break;
      ring_add(tx, &out, 1);
    }
    publish(tx);
  }
  used += drain(tx);
  while (ring_reap(rx, NULL) >= 0) back++;
  return (struct sent){used, back};
}

/* Fills (or compares) guest memory, over the borders of regions. @returns false where it is not mapped here, or differs. */
static bool each_byte(struct guest *g, uint64_t guest, uint64_t length, uint8_t value, bool compares) {
  for (uint64_t i = 0; i < length; i++) {
    uint8_t *p = at(g, guest + i);
    if (p == NULL || (compares && *p != value)) return false;
    if (!compares) *p = value;
  }
  return true;
}

/* Both rings start anew. @returns false when the connection is gone. */
static bool restart_rings(struct guest *g) {
  for (int q = 0; q < 2; q++) {
    struct ring *r = &g->rings[q];
    if (start_ring(g, q, r->packed, r->size, r->desc_guest) != 0) return false;
  }
  return true;
}

/* Breaks a ring in a way that its device can see. */
static void break_ring(struct ring *r) {
  if (r->packed) /* a chain without an end */
    for (uint32_t i = 0; i < r->size; i++) {
      uint16_t flags = DESC_NEXT | (r->wrap ? 1 << 7 : 1 << 15);
      memcpy(r->desc + 16 * i + 14, &flags, 2);
    }
  else r->avail += 40000;
  publish(r);
}

struct harassed {
  int fd;
  const char *kind;
  volatile bool stop;
};

static void *keep_full(void *argument) {
  struct harassed *h = argument;
  while (!h->stop) {
    uint64_t count;
    fill_fd(h->fd, h->kind);
    if (below(4) == 0) {
      fcntl(h->fd, F_SETFL, O_NONBLOCK);
      if (read(h->fd, &count, 8) < 0) sleep_us(10);
    }
  }
  fill_fd(h->fd, h->kind);
  return NULL;
}

enum { BATCH = 32, HEADER = 12, SWEEP_SLOT = 4096, MOST_STALLS = 3 };

/* `right`: packets of which every byte arrived where it belongs. */
static void sweep(struct guest *g, bool reads, uint64_t from, uint64_t size, uint64_t step, uint64_t length) {
  uint64_t own = behind_rings(g), used = 0, stalls = 0, tried = 0, right = 0;
  if (length > SWEEP_SLOT) length = SWEEP_SLOT;
  uint64_t tx_at = own, rx_at = own + BATCH * SWEEP_SLOT;
  for (uint64_t offset = 0; offset < size;) {
    struct ring *rx = &g->rings[0], *tx = &g->rings[1];
    uint64_t there[BATCH], n = 0;
    for (; n < BATCH && offset < size; n++, offset += step) {
      there[n] = from + offset;
      uint64_t source = reads ? there[n] : tx_at + n * SWEEP_SLOT, target = reads ? rx_at + n * SWEEP_SLOT : there[n];
      each_byte(g, target, length, 0, false);
      each_byte(g, source, length, 0x80 | n, false);
      each_byte(g, source, HEADER, 0, false);
      struct piece in = {target, length, DESC_WRITE}, out = {source, length, 0};
      ring_add(rx, &in, 1);
      ring_add(tx, &out, 1);
    }
    tried += n;
    publish(rx);
    publish(tx);
    used += drain(tx);
    if (tx->free == tx->size) drain(rx);
    for (uint64_t i = 0; i < n; i++)
      right += each_byte(g, (reads ? rx_at + i * SWEEP_SLOT : there[i]) + HEADER, length - HEADER, 0x80 | i, true);
    if (tx->free == tx->size && rx->free == rx->size) continue;
    if (++stalls > MOST_STALLS) break; /* given up, or refused: once more */
    if (restart_rings(g)) continue;
    say("closed tried %lu used %lu stalls %lu", tried, used, stalls);
    return;
  }
  say("ok tried %lu used %lu right %lu stalls %lu", tried, used, right, stalls);
}

static int unhex(const char *text, uint8_t *bytes) {
  int n = 0;
  for (; text[0] && text[1]; text += 2) sscanf(text, "%2hhx", &bytes[n++]);
  return n;
}

static void *close_one(void *fd) {
  close((int)(intptr_t)fd);
  return NULL;
}

/* For those whose close waits, when the message with them was not taken. */
static void close_apart(int fd) {
  pthread_t thread;
  pthread_create(&thread, NULL, close_one, (void *)(intptr_t)fd);
  pthread_detach(thread);
}

static void send_single(struct guest *g) {
  uint8_t payload[4096];
  int fds[16], n = 0, size = count > 4 && !is(4, "-") ? unhex(words[4], payload) : 0;
  for (int i = 5; i < count; i++) fds[n++] = make_fd(words[i], 4096);
  int result = send_message(g->sock, number(2), number(3), payload, size, fds, n);
  for (int i = 0; i < n; i++) close_apart(fds[i]);
  outcome(result);
}

static void device_command(struct guest *g, uint64_t d) {
  uint64_t q = number(2);
  if (is(0, "handshake")) {
    int result = handshake(g, number(2), number(3));
    if (result == 0) say("ok 0x%lx", g->features);
    else outcome(result);
  } else if (is(0, "guest")) {
    int step = start_guest(g, number(5), is(2, "packed"), number(3), number(4));
    if (step == 0) say("ok");
    else say("refused step %d", step);
  } else if (is(0, "memory")) {
    new_memory(g, number(2), number(3));
    say("ok %d", g->nregions - 1);
  } else if (is(0, "sparse")) {
    struct region *r = new_memory(g, number(2), number(3) + number(4));
    r->map += r->offset = number(4);
    r->size = number(3);
    say("ok %d", g->nregions - 1);
  } else if (is(0, "region")) take_region(g);
  else if (is(0, "fuse")) take_fuse(g);
  else if (is(0, "table")) outcome(send_table(g, 5000));
  else if (is(0, "add")) outcome(add_region(g, q, 5000));
  else if (is(0, "remove")) outcome(remove_region(g, q, 5000));
  else if (is(0, "truncate")) outcome(ftruncate(g->regions[q].fd, number(3)));
  else if (is(0, "leave")) {
    struct region *r = &g->regions[q];
    int error = posix_fallocate(r->fd, 0, r->size);
    munmap(r->map, r->size);
    close(r->fd);
    r->map = NULL;
    r->fd = -1;
    outcome(error);
  } else if (is(0, "ring")) outcome(start_ring(g, q, is(3, "packed"), number(4), number(5)));
  else if (is(0, "ready")) outcome(ask(g, SET_STATUS, &(uint64_t){0xf}, 8, NULL, 0, 5000));
  else if (is(0, "fd")) send_fd(g, d, q);
  else if (is(0, "fill")) {
    fill_fd(sent_fds[d][q][which_fd(3)], words[4]);
    say("ok");
  } else if (is(0, "send")) {
    struct sent s = send_packets(g, number(2), number(3));
    say("ok sent %lu back %lu", s.used, s.back);
  }
  else if (is(0, "break")) {
    break_ring(&g->rings[q]);
    say("ok");
  } else if (is(0, "harass")) {
    struct harassed h = {sent_fds[d][q][which_fd(3)], words[4], false};
    pthread_t thread;
    pthread_create(&thread, NULL, keep_full, &h);
    uint64_t rounds = 0;
    for (uint64_t end = now_us() + number(5) * 1000; now_us() < end; rounds++) send_packets(g, 32, 100);
    h.stop = true;
    pthread_join(thread, NULL);
    say("ok rounds %lu", rounds);
  } else if (is(0, "sweep")) sweep(g, is(2, "read"), number(3), number(4), number(5), number(6));
  else if (is(0, "scan")) say("ok %lu", find_victim(g));
  else if (is(0, "message")) send_single(g);
  else if (is(0, "bytes")) {
    uint8_t bytes[4096];
    outcome(send_bytes(g->sock, bytes, unhex(words[2], bytes), NULL, 0));
  } else if (is(0, "starve")) {
    if (!starve(g, words[2], number(3))) say("error no such attack: %s", words[2]);
  } else say("error unknown command %s", words[0]);
}

static void command(void) {
  uint64_t d = number(1);
  if (is(0, "sleep")) {
    sleep_us(number(1) * 1000);
    say("ok");
  } else if (is(0, "flood") && count == 4) {
    if (!flood(words[1], words[2], number(3))) say("error no such flood: %s", words[2]);
  } else if (is(0, "fuzz") && count == 5) {
    if (!fuzz(words[1], words[2], number(3), number(4))) say("error no such fuzz: %s", words[2]);
  } else if (is(0, "manners")) {
    fuse_set_manners(is(1, "getattr") ? FUSE_STALLS_GETATTR
                     : is(1, "read")  ? FUSE_STALLS_READ
                     : is(1, "flush") ? FUSE_STALLS_FLUSH
                                      : FUSE_SERVES);
    say("ok");
  } else if (count < 2 || d >= MAX_GUESTS) say("error a device from 0 to %d is expected", MAX_GUESTS - 1);
  else if (is(0, "connect")) {
    if (guests[d] == NULL) guests[d] = calloc(1, sizeof **guests);
    guests[d]->sock = connect_unix(words[2]);
    if (guests[d]->sock < 0) say("error connect: %s", strerror(errno));
    else say("ok");
  } else if (is(0, "listen")) {
    if (guests[d] == NULL) guests[d] = calloc(1, sizeof **guests);
    if (guests[d]->listener == 0) guests[d]->listener = listen_unix(words[2]);
    if (readable(guests[d]->listener, 30000)) guests[d]->sock = accept(guests[d]->listener, NULL, NULL);
    say(guests[d]->sock > 0 ? "ok" : "silent");
  } else if (guests[d] == NULL) say("error device %lu is not connected", d);
  else if (is(0, "close")) {
    end_guest(guests[d]);
    say("ok");
  } else device_command(guests[d], d);
}

int main(void) {
  char line[8192];
  while (read_line(line, sizeof line)) {
    count = 0;
    for (char *w = strtok(line, " "); w != NULL && count < 32; w = strtok(NULL, " ")) words[count++] = w;
    if (count == 0) continue;
    if (is(0, "quit")) break;
    command();
  }
  fuse_end();
  return 0;
}
