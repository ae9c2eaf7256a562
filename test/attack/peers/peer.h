/*
 * A vhost-user front-end and back-end of their own: libc and the kernel's ABI, nothing of the product. What they send is
 * written from the specifications (VIRTIO 1.2, QEMU's vhost-user.rst). The programs are front-end.c (an attacker),
 * victim.c (a well-behaved guest that watches its memory) and back-end.c (an attacker at the other end).
 */
#pragma once
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

/* ---- util.c ------------------------------------------------------------------------------------------------------- */

uint64_t now_us(void);
void sleep_us(uint64_t us);
/** A pseudo random number; the sequence is that of `seed_random`. */
uint64_t random64(void);
/** 0 to n - 1. */
uint64_t below(uint64_t n);
void seed_random(uint64_t seed);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/** Reads one line of stdin without its newline. @returns false at the end of the input. */
bool read_line(char *line, size_t size);
/** Answers of the programs: one line, flushed. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- vhost-user.c ------------------------------------------------------------------------------------------------- */

enum {
  GET_FEATURES = 1,
  SET_FEATURES,
  SET_OWNER,
  RESET_OWNER,
  SET_MEM_TABLE,
  SET_VRING_NUM = 8,
  SET_VRING_ADDR,
  SET_VRING_BASE,
  GET_VRING_BASE,
  SET_VRING_KICK,
  SET_VRING_CALL,
  SET_VRING_ERR,
  GET_PROTOCOL_FEATURES,
  SET_PROTOCOL_FEATURES,
  GET_QUEUE_NUM,
  SET_VRING_ENABLE,
  GET_MAX_MEM_SLOTS = 36,
  ADD_MEM_REG,
  REM_MEM_REG,
  SET_STATUS,
  GET_STATUS,
};

enum { VERSION = 1, REPLY = 4, NEED_REPLY = 8 };
enum { MAX_FDS = 64, MAX_PAYLOAD = 65536 };

#define F_MRG_RXBUF (1ull << 15)
#define F_INDIRECT (1ull << 28)
#define F_PROTOCOL (1ull << 30)
#define F_VERSION_1 (1ull << 32)
#define F_PACKED (1ull << 34)
#define PF_MQ (1ull << 0)
#define PF_REPLY_ACK (1ull << 3)
#define PF_MEM_SLOTS (1ull << 15)
#define PF_STATUS (1ull << 16)

struct message {
  uint32_t request, flags, size;
  uint8_t payload[MAX_PAYLOAD];
  int fds[MAX_FDS];
  int nfds;
};

/** @returns a connected socket, or -1 with errno. */
int connect_unix(const char *path);
/** @returns a listening socket; dies when that is impossible. */
int listen_unix(const char *path);
/** Whether bytes (or the end) came within `ms`. */
bool readable(int fd, int ms);
/** Raw bytes with descriptors. @returns 0, or -1 with errno (EAGAIN: the peer did not read for 10 s). */
int send_bytes(int sock, const void *bytes, size_t length, const int *fds, int nfds);
int send_message(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds, int nfds);
/** One message, descriptors included. @returns 0; -1 at the end of the connection; -2 after `ms` without one. */
int receive_message(int sock, struct message *into, int ms);

/* ---- guest.c: a device as its guest sees it ----------------------------------------------------------------------- */

enum { MAX_GUESTS = 128, MAX_REGIONS = 300, MAX_RINGS = 8 };

struct region {
  int fd;
  uint64_t guest, user, size, offset; /* as they are told to the back-end */
  uint8_t *map; /* `size` bytes at `offset` here, or NULL where there is nothing to map */
};

struct ring {
  bool packed;
  uint32_t size;
  uint64_t desc_guest, driver_guest, device_guest; /* guest addresses of the three parts */
  uint8_t *desc, *driver, *device;
  int call, kick, err;
  uint16_t next;     /* the descriptor that is written next */
  uint16_t wrap;     /* packed: the driver's wrap counter */
  uint16_t avail;    /* split: the avail index */
  uint16_t used;     /* split: the used index that was seen; packed: the slot that is looked at next */
  uint16_t used_wrap;
  uint32_t free;     /* descriptors that nobody has */
  uint16_t *chain;   /* descriptors of the chain that begins with this one */
};

struct guest {
  int sock, listener;
  uint64_t offered, features, protocol;
  struct region regions[MAX_REGIONS];
  int nregions;
  struct ring rings[MAX_RINGS];
};

/** What a piece of a chain is. */
struct piece {
  uint64_t address;
  uint32_t length;
  uint16_t flags; /* DESC_WRITE, DESC_INDIRECT */
};
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

/** A request that wants an acknowledgement. @returns 0 done, 1 refused, -1 closed, -2 no answer in `ms`. */
int ask(struct guest *g, uint32_t request, const void *payload, uint32_t size, const int *fds, int nfds, int ms);
/** A request that answers with a number. @returns 0, or -1 closed, -2 no answer. */
int ask_u64(struct guest *g, uint32_t request, uint64_t *value);
/** SET_OWNER up to SET_FEATURES. `features` are taken as far as they are offered (plus those of `forced`). */
int handshake(struct guest *g, uint64_t features, uint64_t forced);
/** SET_MEM_TABLE of all regions (the first 8 in one message; more need ADD_MEM_REG). */
int send_table(struct guest *g, int ms);
int add_region(struct guest *g, int index, int ms);
int remove_region(struct guest *g, int index, int ms);
/** Where guest memory is in this process, or NULL. */
void *at(struct guest *g, uint64_t guest_address);
/** User address of a guest address. */
uint64_t user_of(struct guest *g, uint64_t guest_address);
/** A memfd region that is mapped here, at the next free place of the table. */
struct region *new_memory(struct guest *g, uint64_t guest, uint64_t size);
/** Bytes of a ring, its three parts one behind the other. */
uint64_t ring_bytes(bool packed, uint32_t size);
/** Initialises a ring at a guest address and sends NUM, BASE, ADDR, CALL, KICK, ENABLE. @returns as `ask` of the worst. */
int start_ring(struct guest *g, int index, bool packed, uint32_t size, uint64_t guest_address);
int set_ring_fd(struct guest *g, int index, uint32_t request, int fd);
/** A memfd of 64 MiB at 1 MiB, rings 0 and 1 at its start. @returns 0, or the step that failed. */
int start_guest(struct guest *g, uint64_t features, bool packed, uint32_t size, uint64_t memory);
/** How often the pattern of the victim's memory is in what this guest has mapped. */
uint64_t find_victim(struct guest *g);
/** Disconnects, unmaps, closes. */
void end_guest(struct guest *g);

enum { MEMORY_BASE = 0x100000 };
#define USER_OFFSET 0x7f0000000000ull

/* ---- ring.c ------------------------------------------------------------------------------------------------------- */

/** Puts one chain into the ring. @returns its id, or -1 without room. Publish with `publish`. */
int ring_add(struct ring *r, const struct piece *pieces, uint32_t n);
/** The next chain that the device has used. @returns its id, or -1. */
int ring_reap(struct ring *r, uint32_t *length);
/** Makes split chains visible (packed ones are already) and kicks. */
void publish(struct ring *r);
void kick(struct ring *r);
/** One descriptor of an indirect table. */
void write_indirect(uint8_t *table, bool packed, uint32_t index, struct piece piece, bool more);
void write_split(struct ring *r, uint32_t index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next);

/* ---- kinds.c: descriptors of every kind --------------------------------------------------------------------------- */

/** @returns a new descriptor of the kind (memfd, tmpfs, disk, hugetlb, zero, null, directory, pipe, socket, eventfd, epoll, linger, ...). */
int make_fd(const char *kind, uint64_t size);
/** Makes it blocking again, whatever a peer made of it, and so full that another write would wait. */
void fill_fd(int fd, const char *kind);

/* ---- fuse.c ------------------------------------------------------------------------------------------------------- */

enum fuse_manners { FUSE_SERVES, FUSE_STALLS_GETATTR, FUSE_STALLS_READ, FUSE_STALLS_FLUSH };
/** A file of `size` bytes on a FUSE of our own, which a child process serves. @returns -1 with errno when there is no FUSE. */
int fuse_open(uint64_t size, uint32_t block_size, const char *directory);
/** From now on. */
void fuse_set_manners(enum fuse_manners manners);
void fuse_end(void);

/* ---- attacks: starve.c, flood.c, fuzz.c --------------------------------------------------------------------------- */

/** @returns false when there is no attack of that name. */
bool starve(struct guest *g, const char *mode, uint64_t ms);
bool flood(const char *path, const char *mode, uint64_t ms);
bool fuzz(const char *path, const char *mode, uint64_t seed, uint64_t cases);
