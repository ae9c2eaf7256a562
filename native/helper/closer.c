/*
 * Closes descriptors in separate threads. close(2) may wait for the maker of the file, and dropping the last reference to
 * a guest's memory takes 57 ms for each GiB of small pages (Linux 6.18, Intel Xeon).
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { MAX_THREADS = 16, MAX_WAITING = 4096, STACK_SIZE = 64 * 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int waiting[MAX_WAITING];
static unsigned waiting_count, threads, unclosed;

unsigned vpmd_close_apart(const int *fds, unsigned count);
unsigned vpmd_unclosed(void);

static void *close_all(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&lock);
	while (waiting_count > 0) {
		int fd = waiting[--waiting_count];
		pthread_mutex_unlock(&lock);
		close(fd);
		pthread_mutex_lock(&lock);
		unclosed--;
	}
	threads--;
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* Starts a thread with all signals blocked: a thread that waits must not receive the process's signals. */
static int start_thread(void)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE > PTHREAD_STACK_MIN ? STACK_SIZE : (size_t)PTHREAD_STACK_MIN);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, &attr, close_all, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return error;
}

/*
 * Queues descriptors for closing. Never waits for a close: each call starts a thread, up to MAX_THREADS.
 * @returns how many were taken: fewer when too many are queued.
 */
unsigned vpmd_close_apart(const int *fds, unsigned count)
{
	unsigned taken = 0;

	pthread_mutex_lock(&lock);
	while (taken < count && waiting_count < MAX_WAITING)
		waiting[waiting_count++] = fds[taken++];
	unclosed += taken;
	if (threads < MAX_THREADS && start_thread() == 0)
		threads++; /* else they wait for a running thread, or for the next call */
	pthread_mutex_unlock(&lock);
	return taken;
}

/* How many descriptors are queued and not closed yet. */
unsigned vpmd_unclosed(void)
{
	pthread_mutex_lock(&lock);
	unsigned count = unclosed;
	pthread_mutex_unlock(&lock);
	return count;
}
