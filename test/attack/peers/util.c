/* Time, random numbers, lines. */
#include "peer.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void sleep_us(uint64_t us) {
  struct timespec t = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&t, NULL);
}

static uint64_t state = 88172645463325252ull;

void seed_random(uint64_t seed) { state = seed * 2654435761u + 88172645463325252ull; }

uint64_t random64(void) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 2685821657736338717ull;
}

uint64_t below(uint64_t n) { return n == 0 ? 0 : (random64() >> 11) % n; }

void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  printf("error ");
  vprintf(format, args);
  printf("\n");
  fflush(stdout);
  exit(3);
}

void say(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vprintf(format, args);
  printf("\n");
  fflush(stdout);
}

bool read_line(char *line, size_t size) {
  if (fgets(line, size, stdin) == NULL) return false;
  line[strcspn(line, "\n")] = 0;
  return true;
}
