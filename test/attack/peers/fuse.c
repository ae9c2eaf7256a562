/*
 * One file on a FUSE of our own, served by a child process: so the peer's answers to fstat, to close and to page faults, and the
 * block size, are ours to choose. Needs root and /dev/fuse. The mount is in a mount namespace of its own and goes with
 * the processes.
 */
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FILE_NODE = 2, REQUEST_SIZE = 1 << 20, STALL_S = 30 };

static pid_t server;
static volatile int *manners;

struct file {
  int device, backing;
  uint64_t size;
  uint32_t block_size;
};

static struct fuse_attr attr_of(const struct file *f, uint64_t node) {
  struct fuse_attr a = {.ino = node, .nlink = 1, .mode = S_IFDIR | 0755};
  if (node == FILE_NODE) {
    a.mode = S_IFREG | 0666;
    a.size = f->size;
    a.blksize = f->block_size;
  }
  return a;
}

static void answer(const struct file *f, const struct fuse_in_header *in, int error, const void *data, size_t size) {
  struct fuse_out_header out = {.len = sizeof out + size, .error = -error, .unique = in->unique};
  struct iovec parts[] = {{&out, sizeof out}, {(void *)data, size}};
  if (writev(f->device, parts, 2) < 0 && errno != ENOENT) return;
}

static void serve_one(struct file *f, const uint8_t *request) {
  const struct fuse_in_header *in = (const void *)request;
  const void *body = request + sizeof *in;
  switch (in->opcode) {
    case FUSE_INIT: {
      struct fuse_init_out out = {.major = 7, .minor = 31, .max_readahead = 4096, .max_write = 131072};
      answer(f, in, 0, &out, sizeof out);
      return;
    }
    case FUSE_LOOKUP: {
      struct fuse_entry_out out = {.nodeid = FILE_NODE, .attr = attr_of(f, FILE_NODE)};
      answer(f, in, strcmp(body, "file") == 0 ? 0 : ENOENT, &out, strcmp(body, "file") == 0 ? sizeof out : 0);
      return;
    }
    case FUSE_GETATTR: {
      if (in->nodeid == FILE_NODE && *manners == FUSE_STALLS_GETATTR) return;
      struct fuse_attr_out out = {.attr = attr_of(f, in->nodeid)};
      answer(f, in, 0, &out, sizeof out);
      return;
    }
    case FUSE_OPEN: {
      struct fuse_open_out out = {.fh = 1};
      answer(f, in, 0, &out, sizeof out);
      return;
    }
    case FUSE_READ: {
      const struct fuse_read_in *read_in = body;
      static uint8_t bytes[REQUEST_SIZE];
      if (*manners == FUSE_STALLS_READ) return;
      ssize_t n = pread(f->backing, bytes, read_in->size < sizeof bytes ? read_in->size : sizeof bytes, read_in->offset);
      answer(f, in, 0, bytes, n < 0 ? 0 : n);
      return;
    }
    case FUSE_WRITE: {
      const struct fuse_write_in *write_in = body;
      struct fuse_write_out out = {.size = write_in->size};
      if (pwrite(f->backing, write_in + 1, write_in->size, write_in->offset) < 0) out.size = 0;
      answer(f, in, 0, &out, sizeof out);
      return;
    }
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: return;
    case FUSE_FLUSH:
      if (*manners == FUSE_STALLS_FLUSH) {
        alarm(STALL_S); /* or nobody who holds the file could end, this program neither, whatever kills it */
        return;
      }
      answer(f, in, 0, NULL, 0);
      return;
    case FUSE_RELEASE:
    case FUSE_FSYNC: answer(f, in, 0, NULL, 0); return;
    default: answer(f, in, ENOSYS, NULL, 0);
  }
}

int fuse_open(uint64_t size, uint32_t block_size, const char *directory) {
  if (server != 0) fuse_end();
  if (manners == NULL)
    manners = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  *manners = FUSE_SERVES;
  struct file f = {.size = size, .block_size = block_size};
  f.device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (f.device < 0) return -1;
  static bool apart;
  if (!apart && (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)) {
    close(f.device);
    return -1;
  }
  apart = true;
  char options[128];
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", f.device, getuid(), getgid());
  if (mount("vpmd-peer", directory, "fuse", MS_NOSUID | MS_NODEV, options) != 0) {
    close(f.device);
    return -1;
  }
  f.backing = make_fd("memfd", size);
  server = fork();
  if (server == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    static uint8_t request[REQUEST_SIZE];
    for (;;) {
      ssize_t n = read(f.device, request, sizeof request - 1);
      if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN)) continue;
      if (n < 0) _exit(0);
      request[n] = 0;
      serve_one(&f, request);
    }
  }
  /* only the child has the device: when it ends, whoever waits for an answer gets an error */
  close(f.device);
  close(f.backing);
  char path[256];
  snprintf(path, sizeof path, "%s/file", directory);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  umount2(directory, MNT_DETACH);
  return fd;
}

void fuse_set_manners(enum fuse_manners to) { *manners = to; }

void fuse_end(void) {
  if (server == 0) return;
  kill(server, SIGKILL);
  waitpid(server, NULL, 0);
  server = 0;
}
