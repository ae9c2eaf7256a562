/* Four threads close descriptors apart at the same time, and ask how many are left. Built with the thread sanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

void vpmd_close_apart(const int *fds, unsigned count);
unsigned vpmd_unclosed(void);

static void *work(void *arg) {
	for (int round = 0; round < 100; round++) {
		int fds[4];
		for (int i = 0; i < 4; i++) fds[i] = eventfd(0, EFD_CLOEXEC);
		vpmd_close_apart(fds, 4);
		(void)vpmd_unclosed();
	}
	return arg;
}

int main(void) {
	pthread_t threads[4];
	for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, NULL);
	for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
	while (vpmd_unclosed() > 0) usleep(1000);
	puts("closed");
	return 0;
}
