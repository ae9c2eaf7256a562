/* Messages of the vhost-user protocol over a unix socket. Nothing here waits for ever: a peer that hangs is an answer, too. */
#include "peer.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
  return address;
}

static void bound_waits(int sock) {
  struct timeval limit = {10, 0};
  setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

int connect_unix(const char *path) {
  struct sockaddr_un address = address_of(path);
  int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bound_waits(sock);
  if (connect(sock, (struct sockaddr *)&address, sizeof address) == 0) return sock;
  int why = errno;
  close(sock);
  errno = why;
  return -1;
}

int listen_unix(const char *path) {
  struct sockaddr_un address = address_of(path);
  int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  unlink(path);
  if (bind(sock, (struct sockaddr *)&address, sizeof address) || listen(sock, 16)) die("listen %s: %m", path);
  return sock;
}

bool readable(int fd, int ms) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, ms) > 0;
}

int send_bytes(int sock, const void *bytes, size_t length, const int *fds, int nfds) {
  char control[CMSG_SPACE(sizeof(int) * 253)];
  struct iovec iov = {(void *)bytes, length};
  struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
  if (nfds > 0) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    *c = (struct cmsghdr){CMSG_LEN(sizeof(int) * nfds), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
  }
  while (iov.iov_len > 0 || length == 0) {
    ssize_t n = sendmsg(sock, &header, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    iov.iov_base = (char *)iov.iov_base + n;
    iov.iov_len -= n;
    header.msg_control = NULL;
    header.msg_controllen = 0;
    if (length == 0) break;
  }
  return 0;
}

int send_message(int sock, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds,
                 int nfds) {
  static uint8_t bytes[12 + MAX_PAYLOAD];
  memcpy(bytes, &request, 4);
  memcpy(bytes + 4, &flags, 4);
  memcpy(bytes + 8, &size, 4);
  if (size > 0) memcpy(bytes + 12, payload, size);
  return send_bytes(sock, bytes, 12 + size, fds, nfds);
}

/* Exactly `length` bytes. @returns as receive_message. */
static int receive_bytes(int sock, uint8_t *to, size_t length, struct message *into, uint64_t deadline) {
  while (length > 0) {
    uint64_t now = now_us();
    if (now >= deadline || !readable(sock, (deadline - now) / 1000 + 1)) return -2;
    char control[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    struct iovec iov = {to, length};
    struct msghdr header = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(sock, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
      if (c->cmsg_type != SCM_RIGHTS) continue;
      into->nfds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      memcpy(into->fds, CMSG_DATA(c), into->nfds * sizeof(int));
    }
    to += n;
    length -= n;
  }
  return 0;
}

int receive_message(int sock, struct message *into, int ms) {
  uint64_t deadline = now_us() + (uint64_t)ms * 1000;
  uint8_t header[12];
  into->nfds = 0;
  int result = receive_bytes(sock, header, sizeof header, into, deadline);
  if (result != 0) return result;
  memcpy(&into->request, header, 4);
  memcpy(&into->flags, header + 4, 4);
  memcpy(&into->size, header + 8, 4);
  if (into->size > MAX_PAYLOAD) return -1;
  return into->size == 0 ? 0 : receive_bytes(sock, into->payload, into->size, into, deadline);
}
