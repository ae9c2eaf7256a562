/* Descriptors of every kind, and descriptors on which a write would wait. */
#include "peer.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static int unnamed_file(const char *directory, uint64_t size) {
  char path[256];
  snprintf(path, sizeof path, "%s/vpmd-XXXXXX", directory);
  int fd = mkostemp(path, O_CLOEXEC);
  if (fd < 0) return -1;
  unlink(path);
  if (ftruncate(fd, size) != 0) die("ftruncate to %lu: %m", size);
  return fd;
}

/* Whoever closes it last waits for LINGER_S: it lingers over bytes that nobody reads. The other end stays open. */
static int lingering_socket(void) {
  enum { LINGER_S = 20 };
  static const char zeros[65536];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (void *)&address, length) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, (void *)&address, &length) != 0 || connect(fd, (void *)&address, length) != 0 ||
      accept(listener, NULL, NULL) < 0)
    die("a lingering socket: %m");
  close(listener);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  while (send(fd, zeros, sizeof zeros, 0) > 0);
  struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  return fd;
}

int make_fd(const char *kind, uint64_t size) {
  int pair[2];
  if (strcmp(kind, "memfd") == 0 || strcmp(kind, "hugetlb") == 0 || strcmp(kind, "gigantic") == 0) {
    unsigned pages = *kind == 'm' ? 0 : MFD_HUGETLB | (*kind == 'g' ? 30u : 21u) << MFD_HUGE_SHIFT;
    int fd = memfd_create("peer", MFD_CLOEXEC | pages);
    if (fd >= 0 && ftruncate(fd, size) != 0) die("a %s of %lu bytes: %m", kind, size);
    if (*kind == 'g' && posix_fallocate(fd, 0, size) != 0) die("pages of 1 GiB: %m"); /* to clear one takes 0.3 s */
    return fd;
  }
  if (strcmp(kind, "tmpfs") == 0) return unnamed_file("/dev/shm", size);
  if (strcmp(kind, "disk") == 0) return unnamed_file(getenv("PEER_DIR") ?: "/var/tmp", size);
  if (strcmp(kind, "zero") == 0) return open("/dev/zero", O_RDWR | O_CLOEXEC);
  if (strcmp(kind, "null") == 0) return open("/dev/null", O_RDWR | O_CLOEXEC);
  if (strcmp(kind, "directory") == 0) return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (strcmp(kind, "proc") == 0) return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (strcmp(kind, "readonly") == 0) {
    char path[64];
    int fd = make_fd("memfd", size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDONLY | O_CLOEXEC);
    close(fd);
    return again;
  }
  if (strcmp(kind, "path") == 0) return open("/", O_PATH | O_CLOEXEC);
  if (strcmp(kind, "eventfd") == 0) return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (strcmp(kind, "semaphore") == 0) return eventfd(1 << 20, EFD_CLOEXEC | EFD_SEMAPHORE);
  if (strcmp(kind, "epoll") == 0) return epoll_create1(EPOLL_CLOEXEC);
  /* the other end of these stays open and is never read */
  if (strcmp(kind, "pipe") == 0) return pipe2(pair, O_CLOEXEC) == 0 ? pair[1] : -1;
  if (strcmp(kind, "socket") == 0) return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 ? pair[1] : -1;
  if (strcmp(kind, "datagram") == 0) return socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0 ? pair[1] : -1;
  if (strcmp(kind, "linger") == 0) return lingering_socket();
  errno = EINVAL;
  return -1;
}

void fill_fd(int fd, const char *kind) {
  static const char zeros[65536];
  int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  if (strcmp(kind, "eventfd") == 0 || strcmp(kind, "semaphore") == 0) {
    /* up to the highest value, whatever is there already; not for ever, against somebody who empties it meanwhile */
    for (uint64_t step = 1ull << 63; step > 0; step /= 2)
      for (int n = 0; n < 4 && write(fd, &step, 8) == 8; n++);
  } else {
    for (size_t step = sizeof zeros; step > 0; step /= 2)
      while (write(fd, zeros, step) > 0);
  }
  fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}
